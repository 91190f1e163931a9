"""Pickles of NVlabs' TensorFlow code: StyleGAN2 and StyleGAN2-ADA."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.generators.stylegan2.formats.base import Findings, LazyTensor, Reader, fp16_resolutions
from idsim.generators.stylegan2.formats.structure import filter_tensor
from idsim.inert.records import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_networks"]

MAX_COMPONENTS = 16
DEFAULT_FILTER = (1, 3, 3, 1)

_ELEMENTS = {"G": 0, "G_ema": 2}
_NAME = re.compile(r"[A-Za-z0-9_/]{1,128}\Z")
_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
_PARTS = {
    "weight": "weight",
    "bias": "bias",
    "noise_strength": "noise_strength",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
}
_LAYER = re.compile(
    r"synthesis/(\d+)x\1/(Conv|Conv0_up|Conv1|ToRGB|Skip)/(weight|bias|noise_strength|mod_weight|mod_bias)\Z"
)
_NOISE = re.compile(r"synthesis/noise(\d{1,2})\Z")
_DENSE = re.compile(r"mapping/(Dense(\d{1,2})|LabelEmbed)/(weight|bias)\Z")


def read_networks(reader: Reader, content: tuple[object, ...], network: str) -> Findings:
    """Find a generator in the tuple of generator, discriminator and averaged generator."""
    if len(content) != 3 or not all(type(part) is Network for part in content):
        reader.refuse("tuple", "it is not generator, discriminator and averaged generator")
    part = content[_ELEMENTS[network]]
    variables: dict[str, object] = {}
    sources: list[str] = []
    kwargs = _collect(reader, part, "", variables, sources)
    _refuse_others(reader, variables)
    tensors: dict[str, LazyTensor] = {}
    for name, value in variables.items():
        if name.rpartition("/")[2] == "lod":
            continue  # the level of detail of progressive growing
        target, tensor = _convert(reader, name, reader.tensor(name, value))
        if target in tensors:
            reader.refuse(name, "two variables become the same tensor")
        tensors[target] = tensor
    label = "stylegan2-ada" if {"num_fp16_res", "conv_clamp"} & kwargs.keys() else "stylegan2"
    found = Findings(f"{label}, TensorFlow", "Gs" if network == "G_ema" else "G", tensors, sources=sources)
    _options(reader, kwargs, found)
    return found


def _collect(
    reader: Reader, part: object, prefix: str, variables: dict[str, object], sources: list[str]
) -> dict[Any, Any]:
    """Add the variables of a network and of its components, and return its options."""
    state = part.state if type(part) is Network else None
    if state is None or prefix.count("/") > 2:
        reader.refuse(prefix or "network", "it is not a network, or nested too deeply")
    kwargs, own = state.get("static_kwargs"), state.get("variables")
    components, source = state.get("components", {}), state.get("build_module_src")
    if not isinstance(kwargs, dict) or type(own) is not list or not isinstance(components, dict):
        reader.refuse(prefix or "network", "its options, variables or components are missing")
    if type(source) is str:
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        sources += [digest] * (digest not in sources)
    for entry in own:
        name = entry[0] if type(entry) in (tuple, list) and len(entry) == 2 else None
        if type(name) is not str or not _NAME.match(name):
            reader.refuse(prefix + "variables", "a variable is not a name and an array")
        if prefix + name in variables:
            reader.refuse(prefix + name, "the variable stands there twice")
        variables[prefix + name] = entry[1]
        reader.check_count(prefix, len(variables))
    if len(components) > MAX_COMPONENTS:
        reader.refuse(prefix + "components", f"there are {len(components)}")
    for name, component in components.items():
        if type(name) is not str or not _NAME.match(name):
            reader.refuse(prefix + "components", "a component has no proper name")
        _collect(reader, component, f"{prefix}{name}/", variables, sources)
    return kwargs


def _refuse_others(reader: Reader, variables: dict[str, object]) -> None:
    for name in variables:
        if "ToRGB_lod" in name:
            reader.refuse(name, "a network of configuration A to D (StyleGAN and its revisions), not read")
        if "LabelConcat" in name:
            reader.refuse(name, "a network that concatenates labels before it normalises (2019), not read")


def _convert(reader: Reader, name: str, tensor: LazyTensor) -> tuple[str, LazyTensor]:
    """Return the name and the form of a variable in NVlabs' PyTorch code."""
    if name == "dlatent_avg":
        return "mapping.w_avg", tensor
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _without_ones(reader, name, tensor, 4, 1)
    if match := _DENSE.match(name):
        target = f"mapping.fc{int(match[2])}" if match[2] else "mapping.embed"
        flip = match[3] == "weight"
        return f"{target}.{match[3]}", _transposed(reader, name, tensor) if flip else tensor
    if match := _NOISE.match(name):
        number = int(match[1])
        target = f"synthesis.b{4 << (number + 1) // 2}.conv{number % 2 ^ 1}.noise_const"
        return target, _without_ones(reader, name, tensor, 4, 2)
    match = _LAYER.match(name)
    if not match:
        reader.refuse(name, "it is not a variable of a StyleGAN2 generator")
    layer, part = match[2], match[3]
    target = f"synthesis.b{match[1]}.{_LAYERS[layer]}.{_PARTS[part]}"
    if part == "weight":
        return target, _kernel(reader, name, tensor, flipped=layer in ("Conv0_up", "Skip"))
    if part == "mod_weight":
        return target, _transposed(reader, name, tensor)
    if part == "mod_bias":
        return target, tensor.changed(tensor.shape, lambda bias: bias + np.float32(1))
    return target, tensor


def _transposed(reader: Reader, name: str, tensor: LazyTensor) -> LazyTensor:
    if len(tensor.shape) != 2:
        reader.refuse(name, f"its shape {tensor.shape} is not that of a matrix")
    return tensor.changed(tensor.shape[::-1], np.transpose)


def _kernel(reader: Reader, name: str, tensor: LazyTensor, *, flipped: bool) -> LazyTensor:
    if len(tensor.shape) != 4:
        reader.refuse(name, f"its shape {tensor.shape} is not that of a convolution")
    height, width, inputs, outputs = tensor.shape

    def change(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        return (weight[::-1, ::-1] if flipped else weight).transpose(3, 2, 0, 1)

    return tensor.changed((outputs, inputs, height, width), change)


def _without_ones(reader: Reader, name: str, tensor: LazyTensor, dimensions: int, ones: int) -> LazyTensor:
    if len(tensor.shape) != dimensions or tensor.shape[:ones] != (1,) * ones:
        reader.refuse(name, f"its shape is {tensor.shape}")
    return tensor.reshaped(tensor.shape[ones:])


def _options(reader: Reader, kwargs: dict[Any, Any], found: Findings) -> None:
    """Take what does not follow from the variables, and refuse options that change the maths."""
    if kwargs.get("normalize_latents", True) is not True:
        reader.refuse("normalize_latents", "a network that does not normalise its latent codes")
    found.lr_multiplier = reader.number("mapping_lrmul", kwargs.get("mapping_lrmul", 0.01))
    found.conv_clamp = reader.clamp("conv_clamp", kwargs.get("conv_clamp"))
    dense, conv = (kwargs.get(key, "lrelu") for key in ("mapping_nonlinearity", "nonlinearity"))
    if type(conv) is not str or type(dense) is not str:
        reader.refuse("nonlinearity", "it is not a text")
    if conv != dense:
        reader.refuse(
            "nonlinearity", f"{conv!r:.80} in the synthesis and {dense!r:.80} in the mapping network"
        )
    found.activation = conv
    resolutions = [
        int(match[1]) for name in found.tensors if (match := re.match(r"synthesis\.b(\d{1,6})\.", name))
    ]
    count = kwargs.get("num_fp16_res", 0)
    if type(count) is not int or not 0 <= count <= 32:
        reader.refuse("num_fp16_res", "it is not an integer from 0 to 32")
    found.fp16_resolutions = fp16_resolutions(max(resolutions, default=4), count)
    taps = kwargs.get("resample_kernel") or DEFAULT_FILTER
    if type(taps) not in (tuple, list) or not 1 <= len(taps) <= 16:
        reader.refuse("resample_kernel", "it is not a row of 1 to 16 numbers")
    row = [reader.number("resample_kernel", tap) for tap in taps]
    if not sum(row):
        reader.refuse("resample_kernel", "its sum is 0")
    for resolution in set(resolutions):
        block = f"synthesis.b{resolution}"
        for name in (block, f"{block}.conv0", f"{block}.skip"):
            if name == block or f"{name}.weight" in found.tensors:
                found.tensors[f"{name}.resample_filter"] = filter_tensor(row)
