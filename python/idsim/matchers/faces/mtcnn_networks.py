"""MTCNN's three networks as ONNX graphs, run by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.faces.mtcnn_weights import NETWORKS
from idsim.matchers.onnx_runtime import import_onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CascadeNetwork"]

OPSET = 17
IR_VERSION = 8  # of the same age, so that older runtimes read the graphs
BATCH = 512


class CascadeNetwork:
    """One network of the cascade.

    Parameters
    ----------
    name : {"pnet", "rnet", "onet"}
        Which one.
    weights : dict of str to ndarray
        What `read_weights` gives.
    threads : int
        Threads of ONNX Runtime.
    """

    def __init__(self, name: str, weights: dict[str, NDArray[np.float32]], threads: int) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _graph(name, weights), options, providers=["CPUExecutionProvider"]
        )
        self._tells = [head.tells for head in NETWORKS[name].heads]

    def __call__(self, levels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return what the heads tell of pictures, float32 ``[n, height, width, 3]`` from 0 to 255."""
        pixels = np.ascontiguousarray(levels.transpose(0, 3, 1, 2))
        pixels -= np.float32(127.5)
        pixels *= np.float32(1 / 128)
        batches = range(0, len(pixels), BATCH)
        parts = [self._session.run(self._tells, {"pixels": pixels[at : at + BATCH]}) for at in batches]
        return {
            tells: np.concatenate(rows)
            for tells, rows in zip(self._tells, zip(*parts, strict=True), strict=True)
        }


def _graph(name: str, weights: dict[str, NDArray[np.float32]]) -> bytes:
    """Return the graph: pixels ``[n, 3, height, width]`` to one output for each head."""
    from onnx import TensorProto, helper, numpy_helper

    network = NETWORKS[name]
    nodes: list[Any] = []
    initializers = []
    last = "pixels"

    def constant(key: str, shape: tuple[int, ...] | None = None) -> str:
        array = weights[key] if shape is None else weights[key].reshape(shape)
        initializers.append(numpy_helper.from_array(array, key))
        return key

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weighted(layer: str, source: str, output: str, *, dense: bool) -> str:
        inputs = [source, constant(f"{layer}.weight"), constant(f"{layer}.bias")]
        return add("Gemm", inputs, output, transB=1) if dense else add("Conv", inputs, output)

    flat = False
    for layer in network.body:
        dense = len(layer.shape) == 2
        if dense and not flat:
            # The weights were trained on MATLAB's order: columns before rows, channels last.
            last = add("Flatten", [add("Transpose", [last], "turned", perm=[0, 3, 2, 1])], "flat")
            flat = True
        last = weighted(layer.name, last, layer.name, dense=dense)
        slopes = (layer.shape[0],) if dense else (layer.shape[0], 1, 1)
        last = add("PRelu", [last, constant(f"prelu{layer.name[-1]}.weight", slopes)], f"{layer.name}.active")
        if layer.pool:
            shape = {"kernel_shape": [layer.pool] * 2, "strides": [2, 2], "ceil_mode": 1}
            last = add("MaxPool", [last], f"{layer.name}.pooled", **shape)
    for head in network.heads:
        if head.tells == "scores":
            logits = weighted(head.name, last, head.name, dense=flat)
            add("Softmax", [logits], "scores", axis=1)
        else:
            weighted(head.name, last, head.tells, dense=flat)
    outputs = [helper.make_tensor_value_info(head.tells, TensorProto.FLOAT, None) for head in network.heads]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "height", "width"])
    graph = helper.make_graph(nodes, name, [pixels], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
