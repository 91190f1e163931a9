"""Which container a file is, told by its first bytes, and its content as records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.inert.blobs import Blob
from idsim.inert.machine import Budget, Machine
from idsim.inert.names import PICKLE, TORCH
from idsim.inert.records import Array, Element
from idsim.inert.torch_stream import MAGIC_PICKLE, PersistentStorages, read_storage, read_stream
from idsim.inert.zip_members import open_archive

if TYPE_CHECKING:
    from idsim.files import InputFile
    from idsim.safetensors import Header

__all__ = ["header_arrays", "read_content", "sniff"]

MAX_FILE_BYTES = 16 << 30  # forty times the largest public checkpoint

# The first bytes of what is not read -> what it is.
_OTHERS = (
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"version https://git-lfs", "a pointer of Git LFS: the content was not downloaded"),
    (b"<", "a text or a web page: the download may have failed"),
)

_SAFETENSORS = {"F32": Element("f4", 4), "F16": Element("f2", 2), "BF16": Element("bf2", 2)}


def sniff(file: InputFile) -> str:
    """Return the container of a file: "pickle", "torch stream", "torch zip" or "safetensors"."""
    if file.size > MAX_FILE_BYTES:
        raise file.error(file.path, "size", f"{file.size} bytes, at most {MAX_FILE_BYTES} are read")
    head = bytes(file.read(0, min(512, file.size)))
    if head.startswith(MAGIC_PICKLE):
        return "torch stream"
    if head.startswith(b"PK\x03\x04"):
        return "torch zip"
    if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return "pickle"
    if head[8:9] == b"{":
        return "safetensors"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            raise file.error(file.path, "byte 0", f"this is {name}")
    if head[257:262] == b"ustar":
        raise file.error(file.path, "byte 257", "this is a tar file, also the oldest format of torch.save")
    raise file.error(
        file.path, "byte 0", "this is no pickle of protocol 2 to 5, torch.save file or safetensors file"
    )


def read_content(file: InputFile, container: str) -> object:
    """Return the value of a pickle or a `torch.save` file as records; tensors stay in the file."""
    budget, whole = Budget(file.size), Blob(file, 0, file.size)
    if container == "torch stream":
        return read_stream(whole, budget)
    if container != "torch zip":
        return _run(Machine(whole, budget, PICKLE, read_storage=read_storage), whole)
    archive = open_archive(file)
    order = archive.find("byteorder") if "byteorder" in archive.members else None
    if order is not None and (len(order) != 6 or order.read() != b"little"):
        raise file.error(file.path, "byteorder", "the elements are not little-endian")
    storages = PersistentStorages(lambda _, key: archive.find(f"data/{key}"))
    pickle = archive.find("data.pkl")
    return _run(Machine(pickle, budget, TORCH, persistent=storages), pickle)


def header_arrays(file: InputFile, header: Header) -> dict[str, object]:
    """Return the tensors of a safetensors file as records, by name."""
    arrays: dict[str, object] = {}
    for name, tensor in header.tensors.items():
        array = arrays[name] = Array()
        array.shape = tensor.shape
        array.element = _SAFETENSORS.get(tensor.dtype, Element(tensor.dtype, 1))
        array.blob = Blob(file, tensor.start, tensor.stop)
    return arrays


def _run(machine: Machine, blob: Blob) -> object:
    value = machine.run()
    if machine.window.place != blob.stop:
        machine.window.refuse("there are bytes after the end of the pickle", machine.window.place)
    return value
