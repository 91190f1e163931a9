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


class Added(nn.Module):
    """A convolution whose result is added to what it is given. He et al., CVPR 2016, "Deep Residual Learning"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class Residual(nn.Module):
    """Two convolutions that halve the sides, a mean over 2 x 2 places, and residual ones between: [n, 128]."""

    dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            Added(64),
            nn.AvgPool2d(2),
            nn.Conv2d(64, 96, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU(),
            Added(96),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 16, self.dim, bias=False), nn.BatchNorm1d(self.dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x))


NETWORKS = {"plain": Plain, "residual": Residual}


def fed(levels: Tensor) -> Tensor:
    """What a network is fed of levels from 0 to 255; the specification says the same."""
    return (levels - 127.5) / 127.5
