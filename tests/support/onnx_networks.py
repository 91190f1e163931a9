"""Embedding networks in ONNX form with random weights, built layer by layer: nothing is downloaded or committed.

The iresnet of ArcFace and the plain residual network of SphereFace have the true order of layers; `width` scales
their channels, 1 is the true size. `projection` is a small network that behaves like a matcher: a random projection of
blurred pixels, so that a mirrored or noisy copy stays close.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Net", "iresnet", "projection", "sphere20"]


class Net:
    """A graph under construction; values are named, and layers return the name of what they give."""

    def __init__(self, seed=0, prefix=""):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.count, self.prefix = [], [], 0, prefix

    def constant(self, values):
        self.count += 1
        name = f"{self.prefix}w{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, *shape, scale):
        return self.constant(self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def add(self, operator, *inputs, output=None, name="", **attributes):
        self.count += 1
        output = output or f"{self.prefix}v{self.count}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, **attributes))
        return output

    def conv(self, x, inputs, outputs, kernel=3, stride=1, bias=False):
        weights = self.weights(outputs, inputs, kernel, kernel, scale=(inputs * kernel * kernel) ** -0.5)
        extra = [self.weights(outputs, scale=0.1)] if bias else []
        pad = kernel // 2
        return self.add(
            "Conv", x, weights, *extra, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def norm(self, x, channels):
        r = self.random
        values = (
            r.uniform(0.5, 1.5, channels), r.normal(0, 0.1, channels), r.normal(0, 0.1, channels),
            r.uniform(0.5, 1.5, channels),
        )  # fmt: skip
        return self.add("BatchNormalization", x, *(self.constant(v.astype(np.float32)) for v in values))

    def prelu(self, x, channels):
        return self.add(
            "PRelu", x, self.constant(self.random.uniform(0.1, 0.4, (channels, 1, 1)).astype(np.float32))
        )

    def dense(self, x, inputs, outputs, output=None):
        weights = self.weights(outputs, inputs, scale=inputs**-0.5)
        return self.add("Gemm", x, weights, self.weights(outputs, scale=0.01), output=output, transB=1)

    def model(self, inputs, outputs, opset=17, ir=8, **more):
        """Return the model; inputs and outputs are (name, type, dims)."""
        infos = [
            [helper.make_tensor_value_info(*entry) for entry in entries] for entries in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "network", *infos, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **more)


FLOAT = TensorProto.FLOAT


def iresnet(layers=(3, 4, 14, 3), width=1.0, dim=512, seed=0, names=("input.1", "683"), batch=("None", 1)):
    """ArcFace's improved ResNet for crops of 112 x 112; (3, 4, 14, 3) is r50, (3, 13, 30, 3) r100."""
    net = Net(seed)
    channels = [max(1, round(count * width)) for count in (64, 64, 128, 256, 512)]
    x = net.prelu(net.norm(net.conv(names[0], 3, channels[0]), channels[0]), channels[0])
    inside = channels[0]
    for count, outside in zip(layers, channels[1:], strict=True):
        for number in range(count):
            stride = 2 if number == 0 else 1
            y = net.norm(x, inside)
            y = net.prelu(net.norm(net.conv(y, inside, outside), outside), outside)
            y = net.norm(net.conv(y, outside, outside, stride=stride), outside)
            if number == 0:
                x = net.norm(net.conv(x, inside, outside, kernel=1, stride=stride), outside)
            x, inside = net.add("Add", x, y), outside
    x = net.add("Flatten", net.norm(x, inside), axis=1)
    x = net.dense(x, inside * 49, dim)
    values = [np.ones(dim), np.zeros(dim), np.zeros(dim), np.ones(dim)]
    constants = [net.constant(value.astype(np.float32)) for value in values]
    net.add("BatchNormalization", x, *constants, output=names[1])
    shape = [batch[0], 3, 112, 112]
    return net.model([(names[0], FLOAT, shape)], [(names[1], FLOAT, [batch[1], dim])])


def sphere20(width=1.0, dim=512, seed=0):
    """SphereFace's network of 20 layers for crops 112 high and 96 wide."""
    net = Net(seed)
    channels = [max(1, round(count * width)) for count in (64, 128, 256, 512)]
    x, inside = "data", 3
    for pairs, outside in zip((1, 2, 4, 1), channels, strict=True):
        x = net.prelu(net.conv(x, inside, outside, stride=2, bias=True), outside)
        for _ in range(pairs):
            y = net.prelu(net.conv(x, outside, outside, bias=True), outside)
            x = net.add("Add", x, net.prelu(net.conv(y, outside, outside, bias=True), outside))
        inside = outside
    net.dense(net.add("Flatten", x, axis=1), inside * 42, dim, output="fc5")
    return net.model([("data", FLOAT, ["n", 3, 112, 96])], [("fc5", FLOAT, ["n", dim])])


def projection(
    size=(112, 112),
    dim=512,
    *,
    layout="NCHW",
    seed=0,
    opset=13,
    names=("input.1", "683"),
    batch=("n", "n"),
    embedded=False,
    unit=False,
    norms=False,
    kind=FLOAT,
):
    """Average pool over 8 x 8 pixels, then a random projection.

    `embedded`: with a pixel map of its own; `unit`: with LpNormalization; `norms`: two outputs, unit vector and length.
    """  # fmt: skip
    net = Net(seed)
    x = names[0]
    if kind != FLOAT:
        x = net.add("Cast", x, to=FLOAT)
    if embedded:
        x = net.add("Sub", x, net.constant(np.float32(127.5)), name="_minusscalar0")
        x = net.add("Mul", x, net.constant(np.float32(1 / 128)), name="_mulscalar0")
    if layout == "NHWC":
        x = net.add("Transpose", x, perm=[0, 3, 1, 2])
    x = net.add("AveragePool", x, kernel_shape=[8, 8], strides=[8, 8])
    count = 3 * (size[0] // 8) * (size[1] // 8)
    x = net.dense(net.add("Flatten", x, axis=1), count, dim, output=None if unit or norms else names[1])
    dims = [3, *size] if layout == "NCHW" else [*size, 3]
    outputs = [(names[1], FLOAT, [batch[1], dim])]
    if unit:
        net.add("LpNormalization", x, output=names[1], axis=1, p=2)
    if norms:
        squares = net.add("MatMul", net.add("Mul", x, x), net.constant(np.ones((dim, 1), np.float32)))
        net.add("Sqrt", squares, output="norm")
        net.add("Div", x, "norm", output=names[1])
        outputs.append(("norm", FLOAT, [batch[1], 1]))
    return net.model([(names[0], kind, [batch[0], *dims])], outputs, opset=opset)


def save(folder, model, name="model.onnx"):
    """Write a model into a folder and return its path."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def crops_of(size, count, seed=1):
    """Return uint8 [count, height, width, 3] at random."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)
