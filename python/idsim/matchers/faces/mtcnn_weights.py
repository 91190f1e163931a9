"""The weights of MTCNN's three networks, from the files of the packages that carry them.

``facenet-pytorch`` has them as ``torch.save`` streams, ``mtcnn`` as joblib files packed by LZ4; the numbers are the
same. Neither package is imported, and nothing in the files is run.
"""

from __future__ import annotations

import importlib.util
import io
import pickletools
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import MatcherError
from idsim.files import InputFile
from idsim.inert.blobs import Blob
from idsim.inert.geometry import elements, read_float32
from idsim.inert.machine import Budget
from idsim.inert.records import Tensor
from idsim.inert.torch_stream import read_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NETWORKS", "Head", "Layer", "Network", "find_weights", "read_weights"]

PLACES = (("facenet_pytorch", "data"), ("mtcnn", "assets/weights"))
SUFFIXES = (".pt", ".lz4")
MAX_BYTES = 8 << 20  # five times the largest of the files, packed or not


class Layer(NamedTuple):
    """A convolution or a dense layer, a PReLU, and the side of the max pooling by 2 after it (0: none)."""

    name: str
    shape: tuple[int, ...]
    pool: int = 0


class Head(NamedTuple):
    """A last layer and what it tells."""

    name: str
    shape: tuple[int, ...]
    tells: str


class Network(NamedTuple):
    """The layers of a network, with facenet-pytorch's names; weights are ``[out, in, height, width]``."""

    body: tuple[Layer, ...]
    heads: tuple[Head, ...]


# Source: K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
# Convolutional Networks", IEEE SPL 23(10), 2016. The order of the heads is that of the files of `mtcnn`.
NETWORKS = {
    "pnet": Network(
        (Layer("conv1", (10, 3, 3, 3), 2), Layer("conv2", (16, 10, 3, 3)), Layer("conv3", (32, 16, 3, 3))),
        (Head("conv4_2", (4, 32, 1, 1), "boxes"), Head("conv4_1", (2, 32, 1, 1), "scores")),
    ),
    "rnet": Network(
        (
            Layer("conv1", (28, 3, 3, 3), 3),
            Layer("conv2", (48, 28, 3, 3), 3),
            Layer("conv3", (64, 48, 2, 2)),
            Layer("dense4", (128, 576)),
        ),
        (Head("dense5_2", (4, 128), "boxes"), Head("dense5_1", (2, 128), "scores")),
    ),
    "onet": Network(
        (
            Layer("conv1", (32, 3, 3, 3), 3),
            Layer("conv2", (64, 32, 3, 3), 3),
            Layer("conv3", (64, 64, 3, 3), 2),
            Layer("conv4", (128, 64, 2, 2)),
            Layer("dense5", (256, 1152)),
        ),
        (
            Head("dense6_2", (4, 256), "boxes"),
            Head("dense6_3", (10, 256), "points"),
            Head("dense6_1", (2, 256), "scores"),
        ),
    ),
}


def find_weights(folder: str = "") -> dict[str, Path]:
    """Return the files of the three networks by their names.

    Parameters
    ----------
    folder : str
        Where they are, as ``pnet.pt`` or ``pnet.lz4`` and so on; empty: in an installed package.

    Raises
    ------
    ModuleNotFoundError
        No folder is given, and neither package is installed.
    MatcherError
        A file is missing.
    """
    places = [Path(folder)] if folder else _package_folders()
    if not places:
        raise ModuleNotFoundError(
            "the detector mtcnn needs its weights: pip install 'idsim[mtcnn]'", name="mtcnn"
        )
    for place in places:
        for suffix in SUFFIXES:
            files = {name: place / f"{name}{suffix}" for name in NETWORKS}
            if all(file.is_file() for file in files.values()):
                return files
    raise MatcherError(places[0], "weights", "pnet, rnet and onet are not all there, as .pt or .lz4")


def _package_folders() -> list[Path]:
    specs = ((importlib.util.find_spec(package), inner) for package, inner in PLACES)
    return [
        Path(place, inner) for spec, inner in specs if spec for place in spec.submodule_search_locations or ()
    ]


def read_weights(name: str, path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a network, under facenet-pytorch's names and in its layout.

    Parameters
    ----------
    name : {"pnet", "rnet", "onet"}
        Which network.
    path : Path
        Its file.

    Raises
    ------
    MatcherError
        The file is none of these, or its arrays are not those of the network.
    ModuleNotFoundError
        An ``.lz4`` file is read without the package lz4.
    """
    wanted = _shapes(NETWORKS[name])
    arrays = _from_joblib(path, wanted) if path.suffix == ".lz4" else _from_torch(path, wanted)
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise MatcherError(path, key, "some weights are not finite")
    return arrays


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in network.body:
        shapes[f"{layer.name}.weight"] = layer.shape
        shapes[f"{layer.name}.bias"] = layer.shape[:1]
        shapes[f"prelu{layer.name[-1]}.weight"] = layer.shape[:1]
    for head in network.heads:
        shapes[f"{head.name}.weight"] = head.shape
        shapes[f"{head.name}.bias"] = head.shape[:1]
    return shapes


def _from_torch(path: Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    with InputFile(path, MatcherError) as file:
        if file.size > MAX_BYTES:
            raise MatcherError(path, "size", f"{file.size} bytes, at most {MAX_BYTES} are read")
        content = read_stream(Blob(file, 0, file.size), Budget(file.size))
        found = content if isinstance(content, dict) else {}
        arrays = {}
        for key, shape in wanted.items():
            tensor = found.get(key)
            if not isinstance(tensor, Tensor) or tensor.shape != shape or tensor.storage.element.code != "f4":
                raise MatcherError(path, key, f"there is no float32 tensor of the shape {shape} by this name")
            blob, element, order = elements(tensor)
            arrays[key] = read_float32(blob, element.code, shape, order)
    return arrays


def _from_joblib(path: Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Read a list of arrays in TensorFlow's layout: ``[height, width, in, out]`` and ``[in, out]``."""
    stored = {key: tuple(shape[axis] for axis in _ORDERS[len(shape)]) for key, shape in wanted.items()}
    parts = _arrays_of_joblib(path, _unpacked(path), list(stored.values()))
    arrays = {}
    for (key, shape), array in zip(stored.items(), parts, strict=True):
        arrays[key] = np.ascontiguousarray(array.reshape(shape).transpose(np.argsort(_ORDERS[len(shape)])))
    return arrays


_ORDERS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # axes of a weight here, in the order of TensorFlow's


def _unpacked(path: Path) -> bytes:
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{path.name} needs lz4: pip install 'idsim[mtcnn]'", name="lz4") from None
    with InputFile(path, MatcherError) as file:
        packed = bytes(file.read(0, min(file.size, MAX_BYTES)))
    unpacker = LZ4FrameDecompressor()
    try:
        data: bytes = unpacker.decompress(packed, max_length=MAX_BYTES)
    except RuntimeError as error:
        raise MatcherError(path, "content", f"it is no LZ4 frame ({error})") from error
    if not unpacker.eof:
        raise MatcherError(path, "content", f"the LZ4 frame is cut off, or has more than {MAX_BYTES} bytes")
    return data


def _arrays_of_joblib(path: Path, data: bytes, shapes: list[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """Return the arrays in joblib's stream, found between the opcodes of its pickle, which is not run.

    The elements follow the BUILD of the object that describes them, after a byte that tells how many bytes of
    padding there are. Sizes of 1 in front of a shape (TensorFlow's slopes of a PReLU) do not count.
    """
    stream = io.BytesIO(data)
    arrays: list[NDArray[np.float32]] = []
    numbers: list[int] = []
    before = ""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "EMPTY_DICT":
                numbers = []
            elif opcode.name.startswith("BININT") and isinstance(argument, int):
                numbers.append(argument)
            elif opcode.name == "BUILD" and before == "SETITEMS":
                arrays.append(_next_array(stream, numbers, shapes[len(arrays)]))
            before = opcode.name if opcode.name != "MEMOIZE" else before
    except (ValueError, IndexError) as error:
        raise MatcherError(
            path, f"array {len(arrays)}", f"this is no list of the network's arrays ({error})"
        ) from error
    if len(arrays) != len(shapes):
        raise MatcherError(path, "content", f"{len(arrays)} arrays, where the network has {len(shapes)}")
    return arrays


def _next_array(stream: io.BytesIO, numbers: list[int], shape: tuple[int, ...]) -> NDArray[np.float32]:
    while len(numbers) > 1 and numbers[0] == 1 and numbers[: len(shape)] != list(shape):
        numbers = numbers[1:]
    if numbers[: len(shape)] != list(shape):
        raise ValueError(f"a shape begins by {numbers[:4]}, not by {list(shape)}")
    padding = stream.read(1)
    stream.read(padding[0])
    raw = stream.read(4 * prod(shape))
    return np.frombuffer(raw, "<f4", prod(shape)).astype(np.float32)
