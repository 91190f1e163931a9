"""The project's own file of a generator: safetensors with NVlabs' names, and its description as JSON texts."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.generators.stylegan2.config import GeneratorConfig
from idsim.generators.stylegan2.formats.base import Findings, Reader
from idsim.generators.stylegan2.formats.state_dicts import find_in_tensors
from idsim.inert.containers import header_arrays
from idsim.safetensors import read_header
from idsim.strict_json import Fields, canonical_json, load_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from idsim.files import InputFile
    from idsim.generators.stylegan2.checkpoint import Checkpoint

__all__ = ["FORMAT", "Stated", "read_safetensors", "write_image"]

FORMAT = "idsim-stylegan2-1"
MAX_HEADER_BYTES = 1 << 20  # JSON takes up to twenty times its bytes once it is parsed

_KEYS = {"format", "config", "provenance", "weights_sha256"}


class Stated(NamedTuple):
    """What a file of the project says of itself.

    Attributes
    ----------
    config : GeneratorConfig
        The configuration.
    provenance : dict
        Where the weights came from, as JSON values.
    weights_sha256 : str
        The hash over the tensors.
    """

    config: GeneratorConfig
    provenance: dict[str, Any]
    weights_sha256: str


def read_safetensors(file: InputFile) -> tuple[Findings, Stated | None]:
    """Find a generator in a safetensors file; a file that the project did not write states nothing."""
    header = read_header(file, MAX_HEADER_BYTES)
    arrays = header_arrays(file, header)
    reader = Reader(file)
    if header.metadata.get("format") != FORMAT:
        average = arrays.get("latent_avg")
        return find_in_tensors(reader, arrays, average, "safetensors", ""), None
    if header.metadata.keys() != _KEYS:
        reader.refuse("header.__metadata__", f"its keys are not {sorted(_KEYS)}")
    config = _config(file, header.metadata["config"])
    provenance = _object(file, header.metadata["provenance"], "header.__metadata__.provenance")
    if not all(_is_flat(value) for value in provenance.values()):
        reader.refuse("header.__metadata__.provenance", "it holds more than plain values and lists of them")
    tensors = {name: reader.tensor(name, array) for name, array in arrays.items()}
    found = Findings(
        "idsim",
        "",
        tensors,
        lr_multiplier=config.lr_multiplier,
        activation=config.activation,
        conv_clamp=config.conv_clamp,
        fp16_resolutions=config.fp16_resolutions,
    )
    return found, Stated(config, provenance, header.metadata["weights_sha256"])


def write_image(checkpoint: Checkpoint, write: Callable[[Buffer], object]) -> None:
    """Write the bytes of a file of the project, piece by piece.

    Parameters
    ----------
    checkpoint : Checkpoint
        What is written.
    write : callable
        Takes the next bytes.
    """
    metadata = {
        "format": FORMAT,
        "config": _text(dataclasses.asdict(checkpoint.config)),
        "provenance": _text(checkpoint.provenance.origin()),
        "weights_sha256": checkpoint.weights_sha256,
    }
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    names = sorted(checkpoint.weights)
    for name in names:
        array = checkpoint.weights[name]
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 8)
    write(len(text).to_bytes(8, "little"))
    write(text)
    for name in names:
        write(checkpoint.weights[name].reshape(-1).data)


def _text(value: object) -> str:
    return canonical_json(value).decode("ascii")


def _is_flat(value: object) -> bool:
    return not isinstance(value, dict | list) or (
        isinstance(value, list) and not any(isinstance(part, dict | list) for part in value)
    )


def _object(file: InputFile, text: str, place: str) -> dict[str, Any]:
    return load_object(text.encode("utf-8", "surrogatepass"), file.path, place, file.error)


def _config(file: InputFile, text: str) -> GeneratorConfig:
    """Read a configuration, each value of its type; the structure compares it with the tensors."""
    place = "header.__metadata__.config"
    fields = Fields(_object(file, text, place), file.path, place, file.error)
    reader = Reader(file)
    clamp = fields.take("conv_clamp")
    architecture = fields.text("architecture")
    if architecture not in ("skip", "resnet", "orig"):
        fields.refuse("architecture", f"{architecture[:40]!r} is not skip, resnet or orig")
    noise = fields.take("use_noise")
    if type(noise) is not bool:
        fields.refuse("use_noise", "is not true or false")
    blocks = fields.items("fp16_resolutions")
    if not all(type(block) is int for block in blocks):
        fields.refuse("fp16_resolutions", "is not an array of integers")
    config = GeneratorConfig(
        resolution=fields.count("resolution"),
        img_channels=fields.count("img_channels"),
        z_dim=fields.count("z_dim"),
        w_dim=fields.count("w_dim"),
        c_dim=fields.count("c_dim"),
        mapping_layers=fields.count("mapping_layers"),
        lr_multiplier=reader.number(f"{place}.lr_multiplier", fields.take("lr_multiplier")),
        architecture=architecture,  # type: ignore[arg-type]
        activation=fields.text("activation"),
        conv_clamp=reader.clamp(f"{place}.conv_clamp", clamp),
        use_noise=noise,
        fp16_resolutions=tuple(blocks),  # type: ignore[arg-type]
    )
    fields.finish()
    return config
