"""The network between a crop and its embedding: what a specification says is built into the graph.

uint8 ``[batch, height, width, 3]`` RGB goes in, float32 ``[batch, dim]`` comes out, so that every matcher runs alike
and a device gets a quarter of the bytes. Only operators that have not changed between the versions are added.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.errors import MatcherError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.matchers.onnx_file import OnnxFile
    from idsim.matchers.spec import MatcherSpec

__all__ = ["CROPS", "EMBEDDINGS", "NORMS", "FoldedGraph", "fold"]

CROPS, EMBEDDINGS, NORMS = "idsim_crops", "idsim_embeddings", "idsim_norms"
IR_VERSIONS = (4, 13)  # from 4 on an initializer need not be an input too
LOOK_AHEAD = 8  # first nodes that are searched for a pixel map, as InsightFace does


class FoldedGraph(NamedTuple):
    """A graph that takes crops and gives embeddings.

    Attributes
    ----------
    data : bytes
        The model, serialised.
    warnings : tuple of str
        Where the graph and the specification seem to disagree.
    """

    data: bytes
    warnings: tuple[str, ...]


def fold(
    source: OnnxFile, spec: MatcherSpec, path: str, center: NDArray[np.float32] | None = None
) -> FoldedGraph:
    """Build the preprocessing and the finish of a specification into a model's graph, which is changed.

    Parameters
    ----------
    source : OnnxFile
        The model.
    spec : MatcherSpec
        The specification.
    path : str
        The model file, for messages.
    center : ndarray, optional
        float32 ``[dim]``, subtracted before normalisation.

    Raises
    ------
    MatcherError
        Graph and specification disagree on an input, an output or a size.
    """
    model = source.model
    builder = _Builder(model.graph)
    image = _the_input(model.graph, spec, path)
    chosen = _the_outputs(model.graph, spec, path)
    warnings = tuple(_own_normalisation(model.graph, spec))
    before = list(model.graph.node)
    del model.graph.node[:]
    fed = _feed(builder, spec, image.type.tensor_type.elem_type)
    # The network's own nodes keep their names: what feeds them takes the name of its input.
    builder.add("Identity", [fed], image.name)
    model.graph.node.extend(before)
    finished = _finish(builder, spec, [output.name for output in chosen], center)
    _declare(model, spec, finished)
    try:
        return FoldedGraph(model.SerializeToString(), warnings)
    except Exception as error:  # protobuf's own error type differs between its versions
        raise MatcherError(path, "size", f"the model cannot be written: {error}") from error


class _Builder:
    """Adds nodes and constants to a graph under names that it does not use."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        used = {name for node in graph.node for name in (*node.input, *node.output)}
        used |= {entry.name for entry in (*graph.input, *graph.output, *graph.initializer)}
        self._prefix = "idsim"
        while any(name.startswith(self._prefix + "_") for name in used):
            self._prefix += "x"
        self._count = 0

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant."""
        from onnx import numpy_helper

        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        from onnx import helper

        output = output or self._name()
        self._graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"


def _the_input(graph: Any, spec: MatcherSpec, path: str) -> Any:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    names = ", ".join(entry.name for entry in inputs) or "none"
    if spec.input.extra:
        raise MatcherError(
            path,
            "input.extra",
            f"{', '.join(spec.input.extra)} cannot be fed by this runtime; plug it in as a callable",
        )
    if spec.input.name and spec.input.name not in (entry.name for entry in inputs):
        raise MatcherError(
            path, "input.name", f"the model has no input {spec.input.name!r}; its inputs: {names}"
        )
    if len(inputs) != 1:
        raise MatcherError(
            path, "input", f"the model must have one input, the crops, and has {len(inputs)}: {names}"
        )
    image = inputs[0]
    from onnx import TensorProto

    element_type = image.type.tensor_type.elem_type
    if element_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8):
        known = TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element_type).lower() if element_type in known else "nothing known"
        raise MatcherError(
            path, f"input {image.name!r}", f"takes {name}; a network for pixels takes float or uint8"
        )
    height, width = spec.input.size
    wanted = [None, 3, height, width] if spec.input.layout == "NCHW" else [None, height, width, 3]
    found = _dims(image)
    if found is not None and (
        len(found) != 4
        or any(a is not None and b is not None and a != b for a, b in zip(found, wanted, strict=True))
    ):
        raise MatcherError(
            path, f"input {image.name!r}",
            f"the model takes {_shown(found)}, and the specification says {_shown(wanted)} ({spec.input.layout})",
        )  # fmt: skip
    return image


def _the_outputs(graph: Any, spec: MatcherSpec, path: str) -> list[Any]:
    """Return the output with the vectors and, where there is one, that with their lengths."""
    outputs = list(graph.output)
    names = ", ".join(entry.name for entry in outputs) or "none"

    def find(key: str, wanted: str | int) -> Any:
        if isinstance(wanted, int):
            if wanted < len(outputs):
                return outputs[wanted]
            raise MatcherError(
                path, f"output.{key}", f"there is no output {wanted}; the model's outputs: {names}"
            )
        named = [entry for entry in outputs if entry.name == wanted]
        if not named:
            raise MatcherError(
                path, f"output.{key}", f"there is no output {wanted!r}; the model's outputs: {names}"
            )
        return named[0]

    vectors = find("name", spec.output.name) if spec.output.name else find("index", spec.output.index)
    dims = _dims(vectors)
    if dims is not None and None not in dims[1:]:
        length = math.prod(size or 1 for size in dims[1:])
        if len(dims) < 2 or length != spec.output.dim:
            raise MatcherError(
                path, f"output {vectors.name!r}",
                f"the model gives {_shown(dims)}, and the specification says {spec.output.dim} elements for a crop",
            )  # fmt: skip
    if spec.output.norm_output == "":
        return [vectors]
    norms = find("norm_output", spec.output.norm_output)
    if norms.name == vectors.name:
        raise MatcherError(path, "output.norm_output", f"{norms.name!r} is the output with the vectors too")
    return [vectors, norms]


def _own_normalisation(graph: Any, spec: MatcherSpec) -> list[str]:
    """Say where the first nodes look like a pixel map of the graph's own, or like none where one is stated."""
    first = list(graph.node)[:LOOK_AHEAD]
    subtract = any(node.op_type == "Sub" or node.name.startswith(("Sub", "_minus")) for node in first)
    multiply = any(node.op_type in ("Mul", "Div") or node.name.startswith(("Mul", "_mul")) for node in first)
    if subtract and multiply and not spec.input.embedded:
        return [
            "its first nodes subtract and scale: if the graph holds its own pixel map, input.embedded must be true"
        ]
    if spec.input.embedded and not (
        subtract or multiply or any(node.op_type == "BatchNormalization" for node in first)
    ):
        return [
            "input.embedded = true, and no pixel map is seen among the first nodes of the graph, which is fed 0 to 255"
        ]
    return []


def _feed(builder: _Builder, spec: MatcherSpec, element_type: int) -> str:
    """From uint8 crops to what the network takes."""
    from onnx import TensorProto

    value = CROPS
    if spec.flip != "none":
        mirror = builder.constant(np.arange(spec.input.size[1])[::-1], np.int64)
        value = builder.add("Concat", [value, builder.add("Gather", [value, mirror], axis=2)], axis=0)
    if spec.input.color == "BGR":
        value = builder.add("Gather", [value, builder.constant([2, 1, 0], np.int64)], axis=3)
    value = builder.add("Cast", [value], to=TensorProto.FLOAT)
    if spec.input.prewhiten:
        value = _prewhitened(builder, value, spec)
    elif not spec.input.embedded:
        value = builder.add("Sub", [value, builder.constant(spec.input.mean)])
        # A division is what the reference implementations do; a product with 1 / std differs in the last bit.
        value = builder.add("Div", [value, builder.constant(spec.input.std)])
    if spec.input.layout == "NCHW":
        value = builder.add("Transpose", [value], perm=[0, 3, 1, 2])
    return value if element_type == TensorProto.FLOAT else builder.add("Cast", [value], to=element_type)


def _prewhitened(builder: _Builder, value: str, spec: MatcherSpec) -> str:
    count = 3 * math.prod(spec.input.size)
    flat = builder.add("Reshape", [value, builder.constant([-1, 1, count], np.int64)])
    centred = builder.add("Sub", [flat, builder.add("GlobalAveragePool", [flat])])
    variance = builder.add("GlobalAveragePool", [builder.add("Mul", [centred, centred])])
    # Max of deviation and 1 / sqrt(count) is the root of the max of variance and 1 / count.
    floor = builder.add("Max", [variance, builder.constant(1 / count)])
    scaled = builder.add("Div", [centred, builder.add("Sqrt", [floor])])
    return builder.add("Reshape", [scaled, builder.constant([-1, *spec.input.size, 3], np.int64)])


def _finish(
    builder: _Builder, spec: MatcherSpec, outputs: list[str], center: NDArray[np.float32] | None
) -> list[str]:
    """From the network's outputs to embeddings; returns the names of what the graph gives."""
    from onnx import TensorProto

    shape = builder.constant([-1, spec.output.dim], np.int64)
    vector = builder.add("Reshape", [builder.add("Cast", [outputs[0]], to=TensorProto.FLOAT), shape])
    if len(outputs) == 2:
        column = builder.constant([-1, 1], np.int64)
        lengths = builder.add("Reshape", [builder.add("Cast", [outputs[1]], to=TensorProto.FLOAT), column])
        vector = builder.add("Mul", [vector, lengths])
    if spec.flip != "none":
        halves = builder.add("Reshape", [vector, builder.constant([2, -1, spec.output.dim], np.int64)])
        plain, mirrored = (
            builder.add("Gather", [halves, builder.constant(half, np.int64)], axis=0) for half in (0, 1)
        )
        joined = {"operator": "Add"} if spec.flip == "sum" else {"operator": "Concat", "axis": 1}
        vector = builder.add(inputs=[plain, mirrored], **joined)
    if center is not None:
        vector = builder.add("Sub", [vector, builder.constant(center)])
    finished = [EMBEDDINGS]
    if spec.output.keep_norm:
        squares = builder.add(
            "MatMul", [builder.add("Mul", [vector, vector]), builder.constant(np.ones((spec.dim, 1)))]
        )
        builder.add("Sqrt", [squares], NORMS)
        finished.append(NORMS)
    if spec.output.normalise:
        builder.add("LpNormalization", [vector], EMBEDDINGS, axis=1, p=2)
    else:
        builder.add("Identity", [vector], EMBEDDINGS)
    return finished


def _declare(model: Any, spec: MatcherSpec, finished: list[str]) -> None:
    """Declare the new inputs and outputs with a free batch; what was declared of the old ones is dropped."""
    from onnx import TensorProto, helper

    graph = model.graph
    for kept in (graph.input, graph.output, graph.value_info, model.training_info, model.metadata_props):
        del kept[:]
    height, width = spec.input.size
    graph.input.append(helper.make_tensor_value_info(CROPS, TensorProto.UINT8, ["batch", height, width, 3]))
    widths = {EMBEDDINGS: spec.dim, NORMS: 1}
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", widths[name]]) for name in finished
    )
    model.ir_version = min(max(model.ir_version, IR_VERSIONS[0]), IR_VERSIONS[1])


def _dims(entry: Any) -> list[int | None] | None:
    """Return the declared dimensions, None for a free one; None where nothing is declared."""
    tensor = entry.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    # Exporters write a free dimension as a name, as nothing, as 0 or as -1.
    return [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]


def _shown(dims: list[int | None]) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in dims) + "]"
