"""Small StyleGAN2 checkpoints of every format, made from one dictionary of random weights."""

from __future__ import annotations

import argparse
import json
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.pickles import (
    Call,
    StorageId,
    Symbol,
    double,
    dumps,
    embedded_tensor,
    numpy_array,
    ordered,
    parameter,
    tensor,
    torch_stream,
)

SOURCE = "raise RuntimeError('this text must never be executed')\n"
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """What a made-up network looks like."""

    resolution: int = 8
    z_dim: int = 6
    w_dim: int = 5
    c_dim: int = 0
    embed: int = 5
    width: int = 7
    layers: int = 2
    img_channels: int = 3
    channels: int = 4
    architecture: str = "skip"
    use_noise: bool = True
    taps: tuple[float, ...] = (1, 3, 3, 1)
    lr: float = 0.01

    @property
    def blocks(self) -> list[int]:
        return [1 << power for power in range(2, self.resolution.bit_length())]


def kernel(taps: tuple[float, ...]) -> np.ndarray:
    row = np.array(taps, np.float32)
    square = np.outer(row, row)
    return square / square.sum()


def make_weights(shape: Shape, seed: int = 0) -> Weights:
    """Random weights by NVlabs' names."""
    random = np.random.default_rng(seed)
    weights: Weights = {}

    def add(name: str, *extents: int) -> None:
        weights[name] = random.standard_normal(extents).astype(np.float32)

    width = shape.z_dim
    if shape.c_dim:
        add("mapping.embed.weight", shape.embed, shape.c_dim)
        add("mapping.embed.bias", shape.embed)
        width += shape.embed
    for layer in range(shape.layers):
        out = shape.w_dim if layer == shape.layers - 1 else shape.width
        add(f"mapping.fc{layer}.weight", out, width)
        add(f"mapping.fc{layer}.bias", out)
        width = out
    add("mapping.w_avg", shape.w_dim)
    for resolution in shape.blocks:
        block, channels = f"synthesis.b{resolution}", shape.channels
        weights[f"{block}.resample_filter"] = kernel(shape.taps)
        if resolution == 4:
            add(f"{block}.const", channels, 4, 4)
        layers = [("conv1", channels)] if resolution == 4 else [("conv0", channels), ("conv1", channels)]
        for layer, inputs in layers:
            add(f"{block}.{layer}.weight", channels, inputs, 3, 3)
            add(f"{block}.{layer}.bias", channels)
            add(f"{block}.{layer}.affine.weight", inputs, shape.w_dim)
            add(f"{block}.{layer}.affine.bias", inputs)
            taps = shape.taps if layer == "conv0" else (1, 3, 3, 1)
            weights[f"{block}.{layer}.resample_filter"] = kernel(taps)
            if shape.use_noise:
                add(f"{block}.{layer}.noise_const", resolution, resolution)
                add(f"{block}.{layer}.noise_strength")
        if shape.architecture == "skip" or resolution == shape.resolution:
            add(f"{block}.torgb.weight", shape.img_channels, channels, 1, 1)
            add(f"{block}.torgb.bias", shape.img_channels)
            add(f"{block}.torgb.affine.weight", channels, shape.w_dim)
            add(f"{block}.torgb.affine.bias", channels)
        if shape.architecture == "resnet" and resolution > 4:
            add(f"{block}.skip.weight", channels, channels, 1, 1)
            weights[f"{block}.skip.resample_filter"] = kernel(shape.taps)
    return weights


BUFFERS = ("w_avg", "noise_const", "resample_filter")


def persisted(
    shape: Shape,
    weights: Weights,
    *,
    clamp: float | None = None,
    half: tuple[int, ...] = (),
    flat: bool = False,
    source: str = SOURCE,
    changes: dict[str, dict[str, Any]] | None = None,
    classes: dict[str, str] | None = None,
) -> Call:
    """A network as NVlabs' persistence writes it; `changes` replace attributes of modules."""
    tree: dict[str, Any] = {}
    for name, array in weights.items():
        node = tree
        *path, leaf = name.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = array
    extra, kinds = changes or {}, {"": "Generator"} | (classes or {})

    def attributes(path: str, node: dict[str, Any]) -> dict[str, Any]:
        leaf = path.rpartition(".")[2]
        if path == "":
            options = {"channel_base": 64, "num_fp16_res": 4}
            kwargs = options if flat else {"mapping_kwargs": {}, "synthesis_kwargs": options}
            kwargs = Call(Symbol("dnnlib.util", "EasyDict"), items=kwargs, new=True)
            return {"z_dim": shape.z_dim, "c_dim": shape.c_dim, "_init_args": (), "_init_kwargs": kwargs}
        if leaf.startswith("fc"):
            gain = shape.lr / math.sqrt(node["weight"].shape[1])
            return {"activation": "lrelu", "weight_gain": double(gain), "bias_gain": shape.lr}
        if leaf in ("affine", "embed"):
            gain = 1 / math.sqrt(node["weight"].shape[1])
            return {"activation": "linear", "weight_gain": double(gain), "bias_gain": 1}
        if leaf.startswith("conv"):
            return {"activation": "lrelu", "conv_clamp": clamp, "up": 2 if leaf == "conv0" else 1}
        if leaf == "torgb":
            return {"conv_clamp": clamp, "weight_gain": double(1 / math.sqrt(node["weight"].shape[1]))}
        if leaf.startswith("b"):
            return {"architecture": shape.architecture, "use_fp16": int(leaf[1:]) in half}
        return {}

    def module(path: str, node: dict[str, Any]) -> Call:
        leaves = {name: value for name, value in node.items() if isinstance(value, np.ndarray)}
        state = {
            "training": False,
            "_parameters": {
                name: parameter(embedded_tensor(value))
                for name, value in leaves.items()
                if name not in BUFFERS
            },
            "_buffers": {name: embedded_tensor(value) for name, value in leaves.items() if name in BUFFERS},
            "_non_persistent_buffers_set": set(),
            "_forward_hooks": ordered(),
            "_modules": {
                name: module(f"{path}.{name}" if path else name, value)
                for name, value in node.items()
                if isinstance(value, dict)
            },
            **attributes(path, node),
            **extra.get(path, {}),
        }
        meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": kinds.get(path, "Module"),
            "state": state,
        }
        return Call(Symbol("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))

    return module("", tree)


def snapshot(averaged: object, trained: object = None, protocol: int = 3, **more: Any) -> bytes:
    return dumps(
        {"G": trained, "D": None, "G_ema": averaged, "training_set_kwargs": None, "augment_pipe": None}
        | more,
        protocol,
    )


def tensorflow_network(shape: Shape, weights: Weights, **options: Any) -> Call:
    """A network as NVlabs' TensorFlow code pickles it."""
    mapping: dict[str, np.ndarray] = {}
    synthesis: dict[str, np.ndarray] = {}
    for layer in range(shape.layers):
        mapping[f"Dense{layer}/weight"] = weights[f"mapping.fc{layer}.weight"].T
        mapping[f"Dense{layer}/bias"] = weights[f"mapping.fc{layer}.bias"]
    if shape.c_dim:
        mapping["LabelEmbed/weight"] = weights["mapping.embed.weight"].T
        mapping["LabelEmbed/bias"] = weights["mapping.embed.bias"]
    synthesis["4x4/Const/const"] = weights["synthesis.b4.const"][None]
    number = 0
    for resolution in shape.blocks:
        block, scope = f"synthesis.b{resolution}", f"{resolution}x{resolution}"
        layers = {"conv1": "Conv"} if resolution == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        for layer, name in layers.items():
            synthesis |= _tensorflow_layer(weights, f"{block}.{layer}", f"{scope}/{name}", layer == "conv0")
            if shape.use_noise:
                synthesis[f"{scope}/{name}/noise_strength"] = weights[f"{block}.{layer}.noise_strength"]
                synthesis[f"noise{number}"] = weights[f"{block}.{layer}.noise_const"][None, None]
                number += 1
        if f"{block}.torgb.weight" in weights:
            synthesis |= _tensorflow_layer(weights, f"{block}.torgb", f"{scope}/ToRGB", flip=False)
        if f"{block}.skip.weight" in weights:
            skip = weights[f"{block}.skip.weight"].transpose(2, 3, 1, 0)[::-1, ::-1]
            synthesis[f"{scope}/Skip/weight"] = skip
    own = {"dlatent_avg": weights["mapping.w_avg"], "lod": np.zeros((), np.float32)}
    parts = {"mapping": _network(mapping, options), "synthesis": _network(synthesis, options)}
    return _network(own, options, parts)


def _tensorflow_layer(weights: Weights, name: str, scope: str, flip: bool) -> Weights:
    weight = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
    return {
        f"{scope}/weight": weight[::-1, ::-1] if flip else weight,
        f"{scope}/bias": weights[f"{name}.bias"],
        f"{scope}/mod_weight": weights[f"{name}.affine.weight"].T,
        f"{scope}/mod_bias": weights[f"{name}.affine.bias"] - np.float32(1),
    }


def _network(variables: Weights, options: dict[str, Any], parts: dict[str, Call] | None = None) -> Call:
    state = {
        "version": 4,
        "name": "G",
        "static_kwargs": options,
        "components": parts or {},
        "build_module_src": SOURCE,
        "build_func_name": "G_main",
        "variables": [(name, numpy_array(np.array(value, order="C"))) for name, value in variables.items()],
    }
    return Call(Symbol("dnnlib.tflib.network", "Network"), state=state, new=True)


def rosinality(shape: Shape, weights: Weights) -> Weights:
    """The same weights by rosinality's names."""
    names: Weights = {}
    for layer in range(shape.layers):
        for part in ("weight", "bias"):
            names[f"style.{layer + 1}.{part}"] = weights[f"mapping.fc{layer}.{part}"]
    names["input.input"] = weights["synthesis.b4.const"][None]
    number = 0
    for index, resolution in enumerate(shape.blocks):
        block = f"synthesis.b{resolution}"
        for layer in ("conv1",) if resolution == 4 else ("conv0", "conv1"):
            old, new = f"{block}.{layer}", f"convs.{number - 1}" if number else "conv1"
            names[f"{new}.conv.weight"] = weights[f"{old}.weight"][None]
            names[f"{new}.conv.modulation.weight"] = weights[f"{old}.affine.weight"]
            names[f"{new}.conv.modulation.bias"] = weights[f"{old}.affine.bias"]
            names[f"{new}.noise.weight"] = weights[f"{old}.noise_strength"].reshape(1)
            names[f"{new}.activate.bias"] = weights[f"{old}.bias"]
            names[f"noises.noise_{number}"] = weights[f"{old}.noise_const"][None, None]
            if layer == "conv0":
                names[f"{new}.conv.blur.kernel"] = weights[f"{old}.resample_filter"] * 4
            number += 1
        old, new = f"{block}.torgb", f"to_rgbs.{index - 1}" if index else "to_rgb1"
        names[f"{new}.conv.weight"] = weights[f"{old}.weight"][None]
        names[f"{new}.conv.modulation.weight"] = weights[f"{old}.affine.weight"]
        names[f"{new}.conv.modulation.bias"] = weights[f"{old}.affine.bias"]
        names[f"{new}.bias"] = weights[f"{old}.bias"][None, :, None, None]
        if index:
            names[f"{new}.upsample.kernel"] = weights[f"{block}.resample_filter"] * 4
    return names


def basicsr(names: Weights) -> Weights:
    """Rosinality's names as BasicSR has them; it stores no filters."""
    renamed: Weights = {}
    for name, array in names.items():
        if "kernel" in name:
            continue
        new = name.replace("noises.noise_", "noises.noise").replace("input.input", "constant_input.weight")
        if new.startswith("style."):
            new = f"style_mlp{new.removeprefix('style')}"
        elif new.startswith(("conv1.", "convs.")):
            new = "style_" + new.replace(".conv.", ".modulated_conv.").replace(".noise.weight", ".weight")
        elif new.startswith("to_rgb"):
            new = new.replace(".conv.", ".modulated_conv.")
        renamed[new] = array
    return renamed


class Storages:
    """Tensors of a `torch.save` file, each with a storage of its own."""

    def __init__(self) -> None:
        self.made: list[StorageId] = []

    def tensor(self, array: np.ndarray, kind: str = "FloatStorage") -> Call:
        flat = np.ascontiguousarray(array).reshape(-1)
        storage = StorageId(str(len(self.made)), flat, kind)
        self.made.append(storage)
        strides = np.ascontiguousarray(array).strides
        steps = tuple(step // array.itemsize for step in strides)
        return tensor(storage, array, stride=steps if array.ndim else ())

    def state_dict(self, names: Weights) -> Call:
        return ordered({name: self.tensor(array) for name, array in names.items()}, {"_metadata": ordered()})


def namespace(**values: Any) -> Call:
    return Call(Symbol("argparse", "Namespace"), state=vars(argparse.Namespace(**values)), new=True)


def torch_zip(value: object, storages: Storages, root: str = "archive") -> bytes:
    """What `torch.save` writes."""
    members = {
        "data.pkl": dumps(value, 2),
        "byteorder": b"little",
        **{f"data/{storage.key}": storage.array.tobytes() for storage in storages.made},
        "version": b"3\n",
    }
    return zip_file({f"{root}/{name}": data for name, data in members.items()})


def zip_file(members: dict[str, bytes], *, method: int = 0, flags: int = 0x808) -> bytes:
    body, directory = b"", b""
    for name, data in members.items():
        raw, crc = name.encode(), zlib.crc32(data)
        fields = (flags, method, 0, 0, crc, len(data), len(data), len(raw))
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, *fields, 0, 0, 0, 0, 0, len(body)) + raw
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 0, *fields, 0) + raw + data
    count = len(members)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def safetensors(
    names: dict[str, np.ndarray], metadata: dict[str, str] | None = None, kind: str = "F32"
) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, array in names.items():
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in names.values())


def every_format(shape: Shape, weights: Weights) -> dict[str, bytes]:
    """The same skip network, without labels, in every container and layout that is read."""
    names = rosinality(shape, weights)
    files = {
        "nvlabs3.pkl": snapshot(persisted(shape, weights), protocol=3),
        "nvlabs4.pkl": snapshot(persisted(shape, weights), protocol=4),
        "nvlabs5.pkl": snapshot(persisted(shape, weights), protocol=5),
        "nvlabs2.pkl": snapshot(persisted(shape, weights), protocol=2),
        "nvlabs_flat.pkl": snapshot(persisted(shape, weights, flat=True), protocol=3),
        "tensorflow2.pkl": dumps((tensorflow_network(shape, weights),) * 3, 2),
        "tensorflow4.pkl": dumps((tensorflow_network(shape, weights),) * 3, 4),
        "nvlabs.safetensors": safetensors(weights),
        "rosinality.safetensors": safetensors(names | {"latent_avg": weights["mapping.w_avg"]}),
    }
    layouts = {
        "rosinality": lambda s: {
            "g_ema": s.state_dict(names),
            "latent_avg": s.tensor(weights["mapping.w_avg"]),
            "args": namespace(size=shape.resolution),
        },
        "encoder": lambda s: {
            "state_dict": s.state_dict(
                {"encoder.x": np.ones(3, np.float32)} | {f"decoder.{k}": v for k, v in names.items()}
            ),
            "latent_avg": s.tensor(np.tile(weights["mapping.w_avg"], (4, 1))),
            "opts": namespace(device="cuda:0"),
        },
        "basicsr": lambda s: {
            "params_ema": s.state_dict(basicsr(names)),
            "latent_avg": s.tensor(weights["mapping.w_avg"]),
        },
        "nvlabs": lambda s: s.state_dict(weights),
    }
    for name, layout in layouts.items():
        storages = Storages()
        content = layout(storages)
        files[f"{name}.pt"] = torch_zip(content, storages)
        files[f"{name}_legacy.pt"] = torch_stream(content, storages.made)
    return files
