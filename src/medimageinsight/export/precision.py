"""Graphs of other precision than float32, made from a float32 graph that is there.

``fp16`` halves the disk. On a CPU its weights are widened when they are loaded and the arithmetic is float32; for a GPU
there is a second graph on the same weights, whose matrix products and convolutions are float16 while sums, norms and
activations stay float32.

``int8`` quantises the matrix products with constant weights but for the last, a scale for each column of the weights
(W8A8, ONNX's QDQ form), and nothing else: depth-wise convolutions have nine weights a channel and lose much. The scales
of activations are fixed beforehand from real inputs, because scales taken from each batch make an embedding depend on
its neighbours.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from medimageinsight.bundle.bundle import half_graph
from medimageinsight.export.graphs import EXTERNAL_DATA_FROM, SMALLEST_EXTERNAL, save_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

# What a GPU gains from in float16; the rest of the graph is a small part of the work and keeps its digits.
_HALF_OPERATORS = frozenset({"MatMul", "Gemm", "Conv", "Attention"})


# Into the common space: one row a picture or text, so nothing to gain, and most of what int8 would lose.
_PROJECTIONS = frozenset({"image_projection", "lang_projection"})


def store_half(source: Path, target: Path) -> tuple[str, ...]:
    """Write a float32 graph with float16 weights, once for float32 arithmetic and once for float16 (`half_graph`).

    Args:
        source: The float32 graph.
        target: The graph with float32 arithmetic; the other one and the weights of both lie beside it.

    Returns:
        The names of the files written.
    """
    model = ir.load(source)
    for value in list(model.graph.initializers.values()):
        weight = value.const_value
        if weight is not None and weight.dtype == ir.DataType.FLOAT and weight.nbytes > SMALLEST_EXTERNAL:
            _halve(model.graph, value, weight)
    written = save_graph(model, target, data_from=0)
    half = target.with_name(half_graph(target.name))
    model = ir.load(target)  # its weights stay in the file they are in
    for node in [node for node in model.graph if node.op_type in _HALF_OPERATORS]:
        _compute_half(model.graph, node)
    model.graph.sort()
    ir.save(model, half)
    return (*written, half.name)


def quantize(source: Path, target: Path, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> tuple[str, ...]:
    """Write an int8 graph of a float32 graph.

    Args:
        source: The float32 graph.
        target: The int8 graph.
        inputs: Real inputs, from which each activation's smallest and largest value are taken.

    Returns:
        The names of the files written.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    graph = ir.load(source).graph
    weights = {name: value.const_value for name, value in graph.initializers.items() if value.const_value is not None}
    matrices = {name for name, weight in weights.items() if len(weight.shape) == 2 and name not in _PROJECTIONS}
    products = [node.name for node in graph if node.op_type == "MatMul" and _name(node.inputs[1]) in matrices]
    with _quiet(), tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
        quantised = Path(scratch) / target.name
        quantize_static(
            source,
            quantised,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=sum(weight.nbytes for weight in weights.values()) > EXTERNAL_DATA_FROM,
        )
        return save_graph(ir.load(quantised), target)


class _Reader:
    """Inputs in the way that ONNX Runtime's calibration draws them."""

    def __init__(self, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._inputs: Iterator[Mapping[str, NDArray[Any]]] = iter(inputs)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        one = next(self._inputs, None)
        return None if one is None else dict(one)


def _halve(graph: ir.Graph, value: ir.Value, weight: ir.TensorProtocol) -> None:
    """Store a weight in float16, followed by a cast to float32, which ONNX Runtime makes once, when it loads."""
    name, narrow = _name(value), weight.numpy().astype(np.float16)
    users = list(value.uses())
    graph.initializers.pop(name)
    stored = ir.Value(name=f"{name}.float16", const_value=ir.tensor(narrow, name=f"{name}.float16"))
    stored.shape, stored.dtype = value.shape, ir.DataType.FLOAT16
    graph.register_initializer(stored)
    cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT.value})
    cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = name, ir.DataType.FLOAT, value.shape
    for use in users:
        use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.insert_before(graph[0], cast)


def _compute_half(graph: ir.Graph, node: ir.Node) -> None:
    """Let one node take and give float16, between casts; a weight is taken as it is stored."""
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype not in (ir.DataType.FLOAT, None):
            continue
        producer = value.producer()
        narrow = producer.inputs[0] if producer is not None and producer.op_type == "Cast" else None
        if narrow is None or not narrow.is_initializer():
            cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT16.value})
            graph.insert_before(node, cast)
            narrow = cast.outputs[0]
        node.replace_input_with(index, narrow)
    output = node.outputs[0]
    users = list(output.uses())
    cast = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT.value})
    wide = cast.outputs[0]
    wide.dtype, wide.shape, output.dtype = ir.DataType.FLOAT, output.shape, ir.DataType.FLOAT16
    for use in users:
        use.node.replace_input_with(use.idx, wide)
    graph.insert_after(node, cast)


def _name(value: ir.Value | None) -> str:
    return "" if value is None or value.name is None else value.name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser tells each node it leaves alone; nothing of it is for a user."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
