"""A generator in memory: its configuration, its weights, and where they came from."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idsim.errors import CheckpointError
from idsim.files import InputFile, NewFile
from idsim.generators.stylegan2.formats.base import Reader
from idsim.generators.stylegan2.formats.state_dicts import find_generator
from idsim.generators.stylegan2.formats.structure import Structure
from idsim.generators.stylegan2.native import read_safetensors, write_image
from idsim.inert.containers import read_content, sniff

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from idsim.files import FileEntry
    from idsim.generators.stylegan2.config import GeneratorConfig

__all__ = [
    "NETWORKS",
    "Checkpoint",
    "NetworkName",
    "Provenance",
    "find_problems",
    "read_checkpoint",
    "save_checkpoint",
]

NetworkName = Literal["G_ema", "G"]
NETWORKS: tuple[NetworkName, ...] = ("G_ema", "G")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights came from.

    Attributes
    ----------
    container : str
        "pickle", "torch zip", "torch stream" or "safetensors".
    layout : str
        The family of files.
    network : str
        Which network of the file; empty where it holds one without a name.
    file_bytes : int
        Size of the file.
    file_sha256 : str
        SHA-256 of the file.
    source_sha256 : tuple of str
        SHA-256 of every module source that is embedded in the file. The sources are never executed.
    kimg : float or None
        Thousands of images seen in training, where the file says so.
    warnings : tuple of str
        What was assumed or filled in.
    converted_from : dict or None
        The provenance of the first file that this one was converted from, as JSON values.
    """

    container: str
    layout: str
    network: str
    file_bytes: int
    file_sha256: str
    source_sha256: tuple[str, ...] = ()
    kimg: float | None = None
    warnings: tuple[str, ...] = ()
    converted_from: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)

    def origin(self) -> dict[str, Any]:
        """Return, as JSON values, the provenance of the first file in a chain of conversions."""
        if self.converted_from is not None:
            return self.converted_from
        return {key: value for key, value in self.as_dict().items() if key != "converted_from"}


@dataclass(frozen=True)
class Checkpoint:
    """A generator, complete and of consistent shapes.

    Attributes
    ----------
    config : GeneratorConfig
        The configuration.
    weights : dict of str to ndarray
        float32, C-contiguous, by NVlabs' names. ``mapping.w_avg`` and the ``noise_const`` maps are absent where
        the file lacks them; every ``resample_filter`` is there.
    provenance : Provenance
        Where they came from.
    stated_sha256 : str or None
        What a file of the project states as `weights_sha256`.
    """

    config: GeneratorConfig
    weights: dict[str, NDArray[np.float32]]
    provenance: Provenance
    stated_sha256: str | None = None

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 over names, shapes and elements: equal for equal weights, whatever file they came from."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            array = self.weights[name]
            digest.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def read_checkpoint(file: InputFile, network: NetworkName) -> Checkpoint:
    """Load a generator from an open file."""
    container = sniff(file)
    reader = Reader(file)
    stated = None
    if container == "safetensors":
        found, stated = read_safetensors(file)
    else:
        found = find_generator(reader, read_content(file, container), network)
    structure = Structure(found, reader.refuse)
    if stated is not None and stated.config != structure.config:
        reader.refuse("header.__metadata__.config", "it does not fit the shapes of the tensors")
    stored = sum(tensor.stored_bytes for tensor in structure.tensors.values())
    if stored > file.size:
        reader.refuse("tensors", f"they share elements: {stored} bytes in a file of {file.size}")
    provenance = Provenance(
        container=container,
        layout=found.layout,
        network=found.network,
        file_bytes=file.size,
        file_sha256=file.hash().sha256,
        source_sha256=tuple(found.sources),
        kimg=found.kimg,
        warnings=(*found.warnings, *structure.warnings),
        converted_from=None if stated is None else stated.provenance,
    )
    weights = {name: tensor.read() for name, tensor in sorted(structure.tensors.items())}
    return Checkpoint(structure.config, weights, provenance, stated and stated.weights_sha256)


def save_checkpoint(
    checkpoint: Checkpoint, path: str | os.PathLike[str], *, replace: bool = False
) -> FileEntry:
    """Write a generator as safetensors: complete under its name, or not at all.

    Parameters
    ----------
    checkpoint : Checkpoint
        What is written.
    path : path-like
        The new file.
    replace : bool
        Whether a file of this name may be replaced.

    Returns
    -------
    FileEntry
        Name, size and SHA-256 of the file.

    Raises
    ------
    FileExistsError
        Something of this name exists and `replace` is False.
    """
    with NewFile(path, replace=replace) as file:
        write_image(checkpoint, file.write)
        return file.commit()


def find_problems(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> list[CheckpointError]:
    """Return what is wrong with the weights of a file that has loaded.

    Parameters
    ----------
    checkpoint : Checkpoint
        What was loaded.
    path : path-like
        The file, for the errors.

    Returns
    -------
    list of CheckpointError
        Tensors with NaN or infinities; a hash over the tensors that is not the one in the file.
    """
    problems = [
        CheckpointError(path, name, f"{int((~np.isfinite(array)).sum())} elements are NaN or infinite")
        for name, array in checkpoint.weights.items()
        if not np.isfinite(array).all()
    ]
    if checkpoint.stated_sha256 is not None and checkpoint.stated_sha256 != checkpoint.weights_sha256:
        problems.append(
            CheckpointError(path, "weights_sha256", "the tensors are not those that were written")
        )
    return problems
