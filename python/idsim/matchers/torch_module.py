"""Embeddings by a PyTorch network: known architectures, weights from public state dicts, on a CPU or a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.arithmetic import full_float32
from idsim.matchers.architectures import ARCHITECTURES
from idsim.matchers.state_dict import read_state_dict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from idsim.matchers.architectures import Architecture

__all__ = ["TorchEmbedder", "TorchOptions", "load_network", "network_shapes"]

CPU_BATCH, GPU_BATCH = 8, 64
FLIPS = ("none", "sum", "concat")


@dataclass(frozen=True)
class TorchOptions:
    """How crops become vectors; what is left at None is the architecture's own.

    Attributes
    ----------
    colour : {"RGB", "BGR"} or None
        Order of the channels that the network is fed; crops are RGB always.
    mean, scale : float or None
        A pixel p of 0 .. 255 becomes (p - mean) / scale.
    flip : {"none", "sum", "concat"}
        Whether the mirrored crop is embedded too, and the two vectors summed, as ArcFace's benchmarks do, or put
        one after the other, as SphereFace's do.
    batch : int
        Crops per run of the network; a last batch is filled up, so that every run has the same shape. 0: 8 on a
        CPU, 64 on a GPU.
    sha256 : str
        What the file must hash to; empty: anything.
    licence : str
        Licence of the weights.
    """

    colour: str | None = None
    mean: float | None = None
    scale: float | None = None
    flip: str = "none"
    batch: int = 0
    sha256: str = ""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.colour not in (None, "RGB", "BGR"):
            raise ValueError(f"colour must be 'RGB' or 'BGR', not {self.colour!r}")
        if self.flip not in FLIPS:
            raise ValueError(f"flip must be one of {', '.join(FLIPS)}, not {self.flip!r}")
        if self.scale is not None and not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")
        if not 0 <= self.batch <= 4096:
            raise ValueError(f"batch must be from 0 to 4096, not {self.batch}")


def architecture_of(name: str) -> Architecture:
    """Return an architecture by name; ValueError lists the known ones."""
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {name!r}")
    return ARCHITECTURES[name]


def _empty_network(architecture: Architecture) -> Any:
    import torch

    with torch.device("meta"):
        return architecture.build()


def network_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of an architecture's weights, by name.

    Raises
    ------
    ValueError
        There is no such architecture.
    ModuleNotFoundError
        torch is not installed.
    """
    state = _empty_network(architecture_of(name)).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def load_network(name: str, arrays: Mapping[str, NDArray[np.float32]]) -> Any:
    """Return the network of an architecture with these weights, ready for inference on the CPU.

    Parameters
    ----------
    name : str
        The architecture.
    arrays : mapping of str to ndarray
        float32, of just the names and shapes of `network_shapes`; the network shares their memory.
    """
    import torch

    network = _empty_network(architecture_of(name))
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(requires_grad=False).eval()


class TorchEmbedder:
    """A face recognition network with weights from a public state dict.

    Parameters
    ----------
    architecture : str
        ``iresnet18``, ``iresnet34``, ``iresnet50``, ``iresnet100`` (insightface's PyTorch names),
        ``inception_resnet_v1`` (facenet-pytorch) or ``sphere20a`` (clcarwin).
    path : path-like
        The weights: a `torch.save` file or safetensors. No code of the file runs.
    options : TorchOptions, optional
        How crops become vectors.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``.

    Attributes
    ----------
    name, metric, dim, size
        As of every `Embedder`.

    Raises
    ------
    ValueError
        There is no such architecture.
    MatcherError
        The file cannot be used; which names, shapes or elements differ is said.
    ModuleNotFoundError
        torch is not installed (the extra ``torch``).
    """

    metric = "cosine"

    def __init__(
        self,
        architecture: str,
        path: str | os.PathLike[str],
        options: TorchOptions | None = None,
        device: str = "cpu",
    ) -> None:
        self.name = architecture
        self.options = options or TorchOptions()
        self._architecture = architecture_of(architecture)
        torch = _import_torch()
        self.device = torch.device(device)
        found = read_state_dict(
            path,
            network_shapes(architecture),
            heads=self._architecture.heads,
            sha256=self.options.sha256,
        )
        self.sha256 = found.sha256
        self._network = load_network(architecture, found.arrays).to(self.device)
        self.size = self._architecture.size
        self.dim = self._architecture.dim * (2 if self.options.flip == "concat" else 1)
        self.batch = self.options.batch or (CPU_BATCH if self.device.type == "cpu" else GPU_BATCH)

    @property
    def colour(self) -> str:
        """Order of the channels that the network is fed."""
        return self.options.colour or self._architecture.colour

    @property
    def pixel_map(self) -> tuple[float, float]:
        """Mean and scale: a pixel p becomes (p - mean) / scale."""
        mean, scale = self.options.mean, self.options.scale
        own = self._architecture
        return own.mean if mean is None else mean, own.scale if scale is None else scale

    def describe(self) -> dict[str, Any]:
        """Return everything that the embeddings depend on, and the licence."""
        import torch

        mean, scale = self.pixel_map
        return {
            "name": self.name,
            "metric": self.metric,
            "dim": self.dim,
            "licence": self.options.licence,
            "library": f"torch {torch.__version__}",
            "device": self.device.type,
            "architecture": self.name,
            "sha256": self.sha256,
            "size": list(self.size),
            "colour": self.colour,
            "mean": mean,
            "scale": scale,
            "flip": self.options.flip,
            "batch": self.batch,
        }

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]`` RGB.

        Raises
        ------
        TypeError, ValueError
            The crops are of another type or shape.
        """
        return np.asarray(self.embed_on_device(crops).cpu().numpy(), dtype=np.float32)

    def embed_on_device(self, crops: Any) -> Tensor:
        """Return the embeddings as a tensor on the device; any function of idsim takes it by DLPack.

        Parameters
        ----------
        crops : array or tensor
            uint8 ``[n, height, width, 3]`` RGB, on a CPU or on the device.

        Returns
        -------
        torch.Tensor
            float32 ``[n, dim]``.
        """
        import torch

        given = crops if isinstance(crops, torch.Tensor) else torch.from_numpy(_checked(crops))
        height, width = self.size
        if given.dtype != torch.uint8 or given.ndim != 4 or tuple(given.shape[1:]) != (height, width, 3):
            raise ValueError(
                f"crops must be uint8 [n, {height}, {width}, 3], not {given.dtype} {list(given.shape)}"
            )
        result = torch.empty((len(given), self.dim), dtype=torch.float32, device=self.device)
        with torch.inference_mode(), full_float32():
            for start in range(0, len(given), self.batch):
                part = given[start : start + self.batch].to(self.device)
                result[start : start + len(part)] = self._run(part)[: len(part)]
        return result

    def _run(self, crops: Tensor) -> Tensor:
        """Return the vectors of up to `batch` crops, and of black ones that fill the batch up."""
        import torch

        mean, scale = self.pixel_map
        pixels = torch.zeros((self.batch, *crops.shape[1:]), dtype=torch.float32, device=self.device)
        pixels[: len(crops)] = crops.flip(3) if self.colour == "BGR" else crops
        maps = ((pixels - mean) / scale).permute(0, 3, 1, 2).contiguous()
        vectors = self._network(maps)
        if self.options.flip == "none":
            return vectors
        mirrored = self._network(maps.flip(3))
        return vectors + mirrored if self.options.flip == "sum" else torch.cat([vectors, mirrored], dim=1)


def _checked(crops: Any) -> NDArray[np.uint8]:
    if not isinstance(crops, np.ndarray):
        raise TypeError(f"crops must be an array or a tensor, not a {type(crops).__name__}")
    if crops.dtype != np.uint8:
        raise ValueError(f"crops must be uint8, not {crops.dtype}")
    return np.array(crops, order="C")


def _import_torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "networks in PyTorch need torch: pip install 'idsim[torch]'", name="torch"
        ) from None
    return torch
