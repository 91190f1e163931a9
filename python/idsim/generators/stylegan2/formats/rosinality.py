"""Generators with the names of rosinality's code: its own files, those of pSp and e4e, and those of BasicSR."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from idsim.generators.stylegan2.formats.base import Findings, LazyTensor, Reader
from idsim.inert.records import Array, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["is_rosinality", "read_rosinality"]

# Patterns of BasicSR's names -> rosinality's.
_BASICSR = (
    (r"style_mlp\.", "style."),
    (r"constant_input\.weight\Z", "input.input"),
    (r"noises\.noise(\d+)\Z", r"noises.noise_\1"),
    (r"style_(conv1|convs\.\d+)\.modulated_conv\.", r"\1.conv."),
    (r"style_(conv1|convs\.\d+)\.weight\Z", r"\1.noise.weight"),
    (r"style_(conv1|convs\.\d+)\.(activate\.)?bias\Z", r"\1.activate.bias"),
    (r"(to_rgb1|to_rgbs\.\d+)\.modulated_conv\.", r"\1.conv."),
)
_STYLE = re.compile(r"style\.([1-9]\d?)\.(weight|bias)\Z")
_LAYER = re.compile(r"(conv1|convs\.(\d{1,2}))\.(.+)\Z")
_RGB = re.compile(r"(to_rgb1|to_rgbs\.(\d{1,2}))\.(.+)\Z")
_NOISE = re.compile(r"noises\.noise_(\d{1,2})\Z")
_LAYER_PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "activate.bias": "bias",
    "noise.weight": "noise_strength",
    "conv.blur.kernel": "resample_filter",
}
_RGB_PARTS = {
    "conv.weight": "torgb.weight",
    "conv.modulation.weight": "torgb.affine.weight",
    "conv.modulation.bias": "torgb.affine.bias",
    "bias": "torgb.bias",
    "upsample.kernel": "resample_filter",
}


def read_rosinality(
    reader: Reader, names: dict[str, object], average: object, layout: str, network: str
) -> Findings:
    """Rename the tensors of a state dict.

    Parameters
    ----------
    reader : Reader
        The file.
    names : dict of str to object
        The state dict, with rosinality's or BasicSR's names.
    average : object
        The mean style, or None.
    layout, network : str
        What the findings say of themselves.
    """
    found = Findings(layout, network, {})
    for old, value in names.items():
        name = _rosinality_name(old)
        target, tensor = _convert(reader, name, reader.tensor(old, value))
        if target in found.tensors:
            reader.refuse(old, f"two tensors become {target}")
        found.tensors[target] = tensor
    if isinstance(average, Tensor | Array):
        mean = reader.tensor("latent_avg", average)
        if len(mean.shape) == 2 and mean.shape[0]:
            mean = mean.changed(mean.shape[1:], lambda rows: _first_of_equals(reader, rows))
        found.tensors["mapping.w_avg"] = mean
    else:
        found.warnings.append("the mean style is not in the file")
    return found


def _rosinality_name(name: str) -> str:
    for pattern, replacement in _BASICSR:
        renamed, count = re.subn(f"\\A{pattern}", replacement, name)
        if count:
            return renamed
    return name


def _convert(reader: Reader, name: str, tensor: LazyTensor) -> tuple[str, LazyTensor]:
    """Return the name and the form of a tensor in NVlabs' code."""
    if match := _STYLE.match(name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}", tensor
    if name == "input.input":
        return "synthesis.b4.const", _without_ones(reader, name, tensor)
    if match := _NOISE.match(name):
        number = int(match[1])
        target = f"synthesis.b{4 << (number + 1) // 2}.conv{number % 2 ^ 1}.noise_const"
        return target, _without_ones(reader, name, _without_ones(reader, name, tensor))
    match = _LAYER.match(name) or _RGB.match(name)
    parts = _RGB_PARTS if match and match[1].startswith("to_rgb") else _LAYER_PARTS
    part = parts.get(match[3]) if match else None
    if match is None or part is None:
        reader.refuse(name, "it is not a tensor of a StyleGAN2 generator with rosinality's names")
    number = int(match[2]) + 1 if match[2] else 0
    if parts is _RGB_PARTS:
        return f"synthesis.b{4 << number}.{part}", _layer_part(reader, name, part, tensor)
    layer = f"synthesis.b{4 << (number + 1) // 2}.conv{number % 2 ^ 1}"
    return f"{layer}.{part}", _layer_part(reader, name, part, tensor)


def _layer_part(reader: Reader, name: str, part: str, tensor: LazyTensor) -> LazyTensor:
    if part == "noise_strength":
        if tensor.shape != (1,):
            reader.refuse(name, f"its shape {tensor.shape} is not that of one number")
        return tensor.reshaped(())
    if part in ("weight", "torgb.weight"):
        return _without_ones(reader, name, tensor)
    if part == "torgb.bias":
        if len(tensor.shape) != 4 or tensor.shape[0] * tensor.shape[2] * tensor.shape[3] != 1:
            reader.refuse(name, f"its shape is {tensor.shape}")
        return tensor.reshaped(tensor.shape[1:2])
    if part == "resample_filter":
        return tensor.changed(tensor.shape, _quartered)
    return tensor


def _quartered(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo the factor 4 that makes up for the zeros between pixels."""
    return kernel / np.float32(4)


def _first_of_equals(reader: Reader, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the one mean that encoders repeat for every style."""
    if (rows != rows[0]).any():
        reader.refuse("latent_avg", "the styles of the network have different means")
    first: NDArray[np.float32] = rows[0]
    return first


def _without_ones(reader: Reader, name: str, tensor: LazyTensor) -> LazyTensor:
    if not tensor.shape or tensor.shape[0] != 1:
        reader.refuse(name, f"the first extent of its shape {tensor.shape} is not 1")
    return tensor.reshaped(tensor.shape[1:])


def is_rosinality(names: Iterable[str]) -> bool:
    """Whether a state dict has rosinality's or BasicSR's names."""
    return any(_rosinality_name(name) in ("convs.0.conv.weight", "input.input") for name in names)
