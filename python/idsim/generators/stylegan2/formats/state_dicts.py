"""Which network a file holds: persisted modules, TensorFlow networks, or a state dict somewhere inside."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from idsim.generators.stylegan2.formats.base import MAX_TENSORS, Findings, Reader
from idsim.generators.stylegan2.formats.nvlabs import read_persistent
from idsim.generators.stylegan2.formats.rosinality import is_rosinality, read_rosinality
from idsim.generators.stylegan2.formats.structure import other_family
from idsim.generators.stylegan2.formats.tensorflow import read_networks
from idsim.inert.records import Array, Mapping, Persistent, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

__all__ = ["find_generator", "find_in_tensors"]

# Keys of the averaged generator and of the generator -> who writes them.
_CONTAINERS = (
    ("G_ema", "G", "state dict"),
    ("g_ema", "g", "rosinality"),
    ("params_ema", "params", "BasicSR"),
)
_DECODER = "decoder."
_NVLABS = re.compile(r"(synthesis|mapping)\.")


def find_generator(reader: Reader, content: object, network: str) -> Findings:
    """Find a generator in the value of a pickle or a `torch.save` file.

    Parameters
    ----------
    reader : Reader
        The file.
    content : object
        What the file holds.
    network : {"G_ema", "G"}
        The averaged generator or the one that is trained, where a file holds both.
    """
    if type(content) is tuple:
        return read_networks(reader, content, network)
    if not _is_dict(content):
        reader.refuse("content", f"it is a {type(content).__name__}, not a dictionary of networks or tensors")
    if any(type(value) is Persistent for value in content.values()):
        return read_persistent(reader, content, network)
    average = content.get("latent_avg")
    for averaged, trained, layout in _CONTAINERS:
        if _is_dict(content.get(averaged)) or _is_dict(content.get(trained)):
            key = averaged if network == "G_ema" else trained
            names = content.get(key)
            if not _is_dict(names):
                reader.refuse(key, "the file holds no such network")
            found = find_in_tensors(reader, names, average, layout, key)
            found.kimg = reader.kimg(content)
            return found
    names = content.get("state_dict")
    if _is_dict(names):
        decoder = {
            name.removeprefix(_DECODER): value
            for name, value in names.items()
            if type(name) is str and name.startswith(_DECODER)
        }
        if decoder:
            return find_in_tensors(reader, decoder, average, "encoder with a decoder", "decoder")
        return find_in_tensors(reader, names, average, "state dict", "")
    return find_in_tensors(reader, content, average, "state dict", "")


def find_in_tensors(
    reader: Reader, names: dict[Any, Any], average: object, layout: str, network: str
) -> Findings:
    """Find a generator in a state dict, whose names tell the family."""
    reader.check_count("names", len(names))
    if not all(type(name) is str for name in names):
        reader.refuse("names", "the keys are not all texts")
    if is_rosinality(names):
        named = {name: value for name, value in names.items() if name != "latent_avg"}
        label = layout if layout != "state dict" else "rosinality"
        return read_rosinality(reader, named, average, label, network)
    if "synthesis.b4.const" not in names:
        reader.refuse("names", other_family([*names, *islice(_nested_names(names), MAX_TENSORS)]))
    tensors = {name: reader.tensor(name, value) for name, value in names.items() if _is_tensor(name, value)}
    found = Findings(f"{layout}, NVlabs' names", network, tensors)
    found.warnings.append(
        "conv_clamp, half-precision blocks and gains are not in the file: defaults are taken"
    )
    return found


def _nested_names(names: dict[str, Any]) -> Iterator[str]:
    for key, value in names.items():
        if _is_dict(value):
            for name in value:
                yield f"{key[:100]}.{str(name)[:100]}"


def _is_tensor(name: str, value: object) -> bool:
    """Whether an entry is read: tensors, and whatever else has a name of the generator."""
    return isinstance(value, Tensor | Array) or bool(_NVLABS.match(name))


def _is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return type(value) in (dict, Mapping)
