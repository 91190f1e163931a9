"""ONNX files from strangers: read as bytes, checked before anything interprets them.

ONNX Runtime gets bytes, never a path: it opens no file that a model names. Tensors that a model keeps outside are
put inside here, and only where the specification allows it and they lie in plain files in the folder of the model.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.errors import MatcherError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OnnxFile", "parse_onnx", "read_onnx", "read_plain"]

MAX_BYTES = (1 << 31) - (1 << 20)  # what protobuf can hold, less what is added to the graph
MAX_NODES = 200_000
OPSETS = (7, 26)  # from 7 on arithmetic broadcasts as NumPy does
DOMAINS = ("", "ai.onnx")
# They run graphs of their own: a loop may never end.
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})


class OnnxFile(NamedTuple):
    """A checked model.

    Attributes
    ----------
    model : onnx.ModelProto
        The model, with no tensor outside.
    files : dict of str to str
        Name and SHA-256 of the model file and of the files with its tensors.
    opset : int
        Version of the standard operators.
    """

    model: Any
    files: dict[str, str]
    opset: int


def read_onnx(path: str | os.PathLike[str], *, sha256: str = "", external_data: bool = False) -> OnnxFile:
    """Read and check a model.

    Parameters
    ----------
    path : path-like
        A plain file: neither a symbolic link nor one of several hard links.
    sha256 : str
        What the file's SHA-256 must be; empty: anything.
    external_data : bool
        Whether tensors may lie in plain files beside the model.

    Raises
    ------
    MatcherError
        The file is refused; says why.
    ModuleNotFoundError
        onnx is not installed (the extra ``onnx``).
    """
    path = Path(path)
    data = read_plain(path)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256:
        raise MatcherError(
            path,
            "sha256",
            f"is {digest}, and the specification says {sha256}; another file needs a specification of its own",
        )
    model = parse_onnx(data, path)
    opset = _check_model(model, path)
    files = {path.name: digest}
    _take_tensors_in(model, path, files, external_data, MAX_BYTES - len(data))
    return OnnxFile(model, files, opset)


def read_plain(path: Path) -> bytes:
    """Return the bytes of a model file; links are refused.

    Raises
    ------
    MatcherError
        It is no plain file, too large, or cannot be read.
    """
    return _read_plain(path, path, MAX_BYTES)


def parse_onnx(data: bytes, path: Path) -> Any:
    """Return the model that bytes hold, not checked further; `path` is for messages.

    Raises
    ------
    MatcherError
        They hold no ONNX model.
    ModuleNotFoundError
        onnx is not installed (the extra ``onnx``).
    """
    import onnx
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with onnx

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise MatcherError(path, "file", "it is no ONNX model, or a part of one") from error
    if not model.graph.node:
        raise MatcherError(path, "graph", "it is no ONNX model: there are no nodes")
    return model


def _read_plain(path: Path, model: Path, most: int) -> bytes:
    """Return a file's bytes; links are refused, by the kernel where a name is exchanged meanwhile."""
    place = "file" if path == model else f"tensors in {path.name}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise MatcherError(
                model, place, "it is a symbolic link; name the file that it leads to"
            ) from None
        reason = getattr(error, "strerror", None) or str(error)
        raise MatcherError(model, place, f"the system says: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MatcherError(model, place, "it is not a regular file")
        if status.st_nlink != 1:
            raise MatcherError(
                model, place, f"it has {status.st_nlink} names (hard links); make a copy of it"
            )
        if status.st_size > most:
            raise MatcherError(model, place, f"{status.st_size} bytes, at most {most} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def _check_model(model: Any, path: Path) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    if len(versions) != 1 or not OPSETS[0] <= versions[0] <= OPSETS[1]:
        raise MatcherError(
            path,
            "opset",
            f"must be one from {OPSETS[0]} to {OPSETS[1]} of the standard operators, not {versions}",
        )
    if model.functions:
        raise MatcherError(
            path, "functions", "the model defines operators of its own; export it with them inlined"
        )
    for count, node in enumerate(_nodes(model.graph)):
        if count == MAX_NODES:
            raise MatcherError(path, "graph", f"more than {MAX_NODES} nodes")
        if node.domain not in DOMAINS:
            raise MatcherError(
                path,
                f"node {node.name[:80]!r}",
                f"the operator {node.domain[:80]}.{node.op_type[:80]} is not standard ONNX",
            )
        if node.op_type in CONTROL_FLOW:
            raise MatcherError(
                path,
                f"node {node.name[:80]!r}",
                f"{node.op_type} is refused: no network of the catalogue has loops or branches",
            )
    return int(versions[0])


def _nodes(graph: Any) -> Iterator[Any]:
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    # Subgraphs are gone: what has them was refused.
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in [
                *attribute.sparse_tensors,
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            ]:
                yield from (sparse.values, sparse.indices)


def _take_tensors_in(model: Any, path: Path, files: dict[str, str], allowed: bool, most: int) -> None:
    from onnx import TensorProto, helper

    held: dict[str, bytes] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        place = f"tensor {tensor.name[:80]!r}"
        if not allowed:
            raise MatcherError(
                path,
                place,
                "its values lie in another file; external_data = true in the specification allows that",
            )
        location, offset, length = _location(tensor, path, place)
        if location not in held:
            data = _read_plain(path.parent / location, path, most)
            most -= len(data)
            held[location] = data
            files[location] = hashlib.sha256(data).hexdigest()
        try:
            wanted = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, TypeError, ValueError):
            raise MatcherError(path, place, "its type is not known") from None
        length = wanted if length is None else length
        if any(size < 0 for size in tensor.dims) or length != wanted or offset + length > len(held[location]):
            raise MatcherError(
                path, place,
                f"{wanted} bytes are expected, it names {length} from byte {offset} on, and {location} has "
                f"{len(held[location])}",
            )  # fmt: skip
        tensor.raw_data = held[location][offset : offset + length]
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _location(tensor: Any, path: Path, place: str) -> tuple[str, int, int | None]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise MatcherError(
            path, place, f"its file {name[:80]!r} is not a plain name in the folder of the model"
        )
    numbers: list[int | None] = []
    for key in ("offset", "length"):
        text = entries.get(key)
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
            raise MatcherError(path, place, f"{key} of its file is {text[:80]!r}, no count of bytes")
        numbers.append(None if text is None else int(text))
    return name, numbers[0] or 0, numbers[1]
