"""Detectors in ONNX form that find bright spots: what their outputs mean is known, and a large spot escapes them.

A cell is a face where it is brighter than the five by five cells around it, so a spot of many cells is none, as a face
that fills the frame is none for the true networks.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["KEY_POINTS", "scrfd", "yunet"]

# In strides, from the corner of the cell.
KEY_POINTS = np.array([[-0.5, -0.5], [1.5, -0.5], [0.5, 0.5], [-0.25, 1.25], [1.25, 1.25]], np.float32)


class _Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, values, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, operator, *inputs, output="", **attributes):
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def spots(self, grey, stride, works):
        """Return scores ``[n, 1]``, about 1 where a cell is a small bright spot; zeros where it does not work."""
        light = self.add("AveragePool", grey, kernel_shape=[stride] * 2, strides=[stride] * 2)
        pool = {"kernel_shape": [5, 5], "strides": [1, 1], "pads": [2, 2, 2, 2], "count_include_pad": 1}
        score = self.add("Relu", self.add("Sub", light, self.add("AveragePool", light, **pool)))
        score = self.add("Mul", score, self.constant(float(works)))
        return self.add("Reshape", score, self.constant([-1, 1], np.int64))

    def rows(self, score, values):
        """Return the same values for every cell."""
        return self.add("Add", self.add("Mul", score, self.constant(0.0)), self.constant([values]))

    def save(self, path, outputs, size):
        sides = list(size) if size else ["height", "width"]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *sides])
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "spots", [image], infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path


def scrfd(path, size=None, points=True):
    """Write a detector with SCRFD's nine outputs and two anchors; stride 8 works, the box is four cells wide."""
    net, names = _Graph(), {"scores": [], "boxes": [], "points": []}
    grey = net.add("ReduceMean", "image", axes=[1], keepdims=1)
    grey = net.add("Mul", net.add("Add", grey, net.constant(127.5 / 128)), net.constant(128 / 255))
    for stride in (8, 16, 32):
        score = net.spots(grey, stride, stride == 8)
        nothing = net.add("Mul", score, net.constant(0.0))
        pairs = {"scores": (net.add("Concat", nothing, score, axis=1), 1)}
        for kind, values in (("boxes", [1.5, 1.5, 2.5, 2.5]), ("points", KEY_POINTS.ravel())):
            one = net.rows(score, values)
            pairs[kind] = net.add("Concat", one, one, axis=1), len(values)
        for kind, (name, columns) in pairs.items():
            shape = net.constant([-1, columns], np.int64)
            names[kind].append(net.add("Reshape", name, shape, output=f"{kind}_{stride}"))
    kinds = ("scores", "boxes", "points") if points else ("scores", "boxes")
    return net.save(path, [name for kind in kinds for name in names[kind]], size)


def yunet(path, size=None):
    """Write a detector with YuNet's twelve outputs; stride 8 works, the box is four cells wide."""
    net, names = _Graph(), []
    # Blue counts nothing: a spot of red and green is one, and one of blue is none.
    weights = net.constant(np.array([0.0, 0.5, 0.5], np.float32).reshape(1, 3, 1, 1) / 255)
    grey = net.add("Conv", "image", weights)
    values = {"bbox": [0.5, 0.5, np.log(4), np.log(4)], "kps": KEY_POINTS.ravel()}
    for stride in (8, 16, 32):
        score = net.spots(grey, stride, stride == 8)
        parts = {"cls": score, "obj": net.rows(score, [1.0])}
        parts |= {kind: net.rows(score, row) for kind, row in values.items()}
        for kind, rows in parts.items():
            shape = net.constant([1, -1, {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}[kind]], np.int64)
            names.append(net.add("Reshape", rows, shape, output=f"{kind}_{stride}"))
    return net.save(path, names, size)
