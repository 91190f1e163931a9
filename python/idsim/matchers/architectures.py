"""The networks by name, with what their public weights were trained on: size, colours, pixel map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ARCHITECTURES", "Architecture"]


class Architecture(NamedTuple):
    """A network and the input that its public weights want.

    Attributes
    ----------
    build : callable
        Returns the PyTorch module.
    size : tuple of int
        Height and width of a crop in pixels.
    colour : {"RGB", "BGR"}
        Order of the channels that the network is fed.
    mean, scale : float
        A pixel p of 0 .. 255 becomes (p - mean) / scale.
    heads : tuple of str
        Layers of the public files that only training uses.
    dim : int
        Elements of an embedding.
    """

    build: Callable[[], Any]
    size: tuple[int, int]
    colour: str
    mean: float
    scale: float
    heads: tuple[str, ...] = ()
    dim: int = 512


def _iresnet(depth: int) -> Architecture:
    def build() -> Any:
        from idsim.matchers.networks.iresnet import IResNet

        return IResNet(depth)

    return Architecture(build, (112, 112), "RGB", 127.5, 127.5)


def _inception_resnet() -> Any:
    from idsim.matchers.networks.inception_resnet import InceptionResnetV1

    return InceptionResnetV1()


def _sphere20() -> Any:
    from idsim.matchers.networks.sphereface import Sphere20

    return Sphere20()


ARCHITECTURES = {
    **{f"iresnet{depth}": _iresnet(depth) for depth in (18, 34, 50, 100)},
    "inception_resnet_v1": Architecture(_inception_resnet, (160, 160), "RGB", 127.5, 128.0, ("logits.",)),
    "sphere20a": Architecture(_sphere20, (112, 96), "BGR", 127.5, 128.0, ("fc6.",)),
}
