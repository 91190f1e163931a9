"""Two small networks from a picture of 32 x 32 pixels to an embedding, of different build."""

from __future__ import annotations

from torch import Tensor, nn  # noqa: TID253 - a script

SIDE = 32


class Plain(nn.Module):
    """Four convolutions, the first three halving the sides, and one linear map of all that is left: [n, 128].

    The end (dropout, linear map, batch normalisation) is ArcFace's.
    """

    dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(32), nn.PReLU(32),
            nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64),
            nn.Conv2d(64, 96, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(96), nn.PReLU(96),
            nn.Conv2d(96, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.PReLU(96),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 16, self.dim, bias=False), nn.BatchNorm1d(self.dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x))


class Bottleneck(nn.Module):
    """Narrow, filter, widen again; the input is added. He et al., CVPR 2016, "Deep Residual Learning"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 2
        self.path = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class Residual(nn.Module):
    """Overlapping patches of 7 x 7 pixels, residual blocks, a filter over all places: [n, 64].

    The last filter in place of a mean is that of Chen et al., CCBR 2018, "MobileFaceNets".
    """

    dim = 64

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=4, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *(Bottleneck(64) for _ in range(3)),
            nn.Conv2d(64, 128, 2, stride=2, bias=False),
            nn.BatchNorm2d(128),
            *(Bottleneck(128) for _ in range(2)),
        )
        self.head = nn.Sequential(
            nn.Conv2d(128, 256, 1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.Conv2d(256, 256, 4, groups=256, bias=False),
            nn.BatchNorm2d(256),
            nn.Flatten(),
            nn.Linear(256, self.dim, bias=False),
            nn.BatchNorm1d(self.dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x))


NETWORKS = {"plain": Plain, "residual": Residual}


def fed(levels: Tensor) -> Tensor:
    """What a network is fed of levels from 0 to 255; the specification says the same."""
    return (levels - 127.5) / 127.5
