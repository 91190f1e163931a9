"""Write a trained network as an ONNX file that carries its specification, with weights of 16 bits."""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - a script
import torch  # noqa: TID253
from matcher_networks import SIDE
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253
from torch import nn  # noqa: TID253

from idsim.matchers.onnx_spec import write_spec_into

OPSET = 17
SMALL = 256  # Elements from which on a tensor is stored in 16 bits.
LOSSES = {"drawn-arcface": "additive angular margin", "drawn-sphereface": "multiplicative angular margin"}
SPEC = """\
name = "{name}"
kind = "onnx"
licence = "Apache-2.0"
title = "Matcher of drawn portraits, {loss}; for the demonstration world only"
source = "idsim, examples/demo_world/train_matchers.py"
notes = [
  "Trained on procedurally drawn portraits alone (idsim.demo_world, population matcher-training): no photograph and no \
person stands behind them, and it recognises no one in a photograph.",
  "The picture is the crop: no detector, no alignment.",
]

[input]
size = [{side}, {side}]
color = "RGB"
layout = "NCHW"
mean = 127.5
std = 127.5

[align]
mode = "none"

[output]
dim = {dim}
normalise = true

[score]
metric = "cosine"
"""


def export(network: nn.Module, name: str, output: Path) -> nn.Module:
    """Write the file, in place of one that is there, and return the network with the weights that it holds."""
    rounded = halved(network)
    with tempfile.TemporaryDirectory() as folder:
        plain, spec, carrying = (Path(folder) / file for file in ("plain.onnx", "spec.toml", "carrying.onnx"))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # This exporter is deprecated, and the other needs one package more.
            torch.onnx.export(
                rounded, torch.zeros(1, 3, SIDE, SIDE), plain, dynamo=False, opset_version=OPSET,
                input_names=["pictures"], output_names=["embeddings"],
                dynamic_axes={"pictures": {0: "n"}, "embeddings": {0: "n"}},
            )  # fmt: skip
        onnx.save(with_halves(onnx.load(plain)), plain)
        spec.write_text(
            SPEC.format(name=name, loss=LOSSES[name], side=SIDE, dim=rounded.dim), encoding="utf-8"
        )
        write_spec_into(plain, spec, carrying)
        output.write_bytes(carrying.read_bytes())
    return rounded


def halved(network: nn.Module) -> nn.Module:
    """A copy for use with normalisations merged into the filters before them, and large tensors rounded to 16 bits."""
    merged = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    merge(merged)
    for value in merged.parameters():
        if value.numel() >= SMALL:
            value.data = value.data.half().float()
    return merged.requires_grad_(requires_grad=False)


def merge(network: nn.Module) -> None:
    """Merge every batch normalisation into the convolution or the linear map that stands right before it."""
    for part in network.children():
        merge(part)
    if not isinstance(network, nn.Sequential):
        return
    for place in range(1, len(network)):
        before, here = network[place - 1], network[place]
        if isinstance(here, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            network[place - 1] = torch.nn.utils.fusion.fuse_conv_bn_eval(before, here)
        elif isinstance(here, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            network[place - 1] = torch.nn.utils.fusion.fuse_linear_bn_eval(before, here)
        else:
            continue
        network[place] = nn.Identity()


def with_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large tensors in 16 bits, and widen them in the graph."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        narrow = values.astype(np.float16)
        if not np.array_equal(narrow.astype(np.float32), values):
            raise SystemExit(f"{tensor.name}: its values are not of 16 bits")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(narrow, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model
