"""Graphs of lower precision, made from float32 graphs.

``fp16`` halves the size on disk. On a CPU its weights are converted to float32 when they are loaded; for a GPU a second
graph on the same weights computes matrix products and convolutions in float16, and sums, norms and activations in
float32.

``int8`` quantises all matrix products with constant weights except the projection, with a scale for each column of the
weights (W8A8, ONNX's QDQ form), and nothing else: depth-wise convolutions have nine weights per channel and lose much.
So does a network of convolutions (smallest cosine of EfficientNet-Lite0 0.93, no faster), whose graph stays float32.
The scales of activations are fixed beforehand from real inputs, because scales from each batch would make an embedding
depend on the other images of its batch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from medimageinsight.bundle import half_graph
from medimageinsight.export.graphs import EXTERNAL_DATA_FROM, MIN_EXTERNAL_BYTES, save_graph, silence_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Faster in float16 on a GPU; the rest of the graph is a small part of the work and keeps its precision.
_HALF_OPERATORS = frozenset({"MatMul", "Gemm", "Conv", "Attention"})
# The projections have one row per image or text: int8 would gain nothing there and lose most of its accuracy.
_PROJECTIONS = frozenset({"image_projection", "lang_projection"})


def store_half(source: Path, target: Path) -> tuple[str, ...]:
    """Write a float32 graph with float16 weights, once for float32 arithmetic and once for float16 (`half_graph`).

    The second graph and the weights of both are written next to `target`. Returns the names of the files written.
    """
    model = ir.load(source)
    for value in list(model.graph.initializers.values()):
        weight = value.const_value
        if weight is not None and weight.dtype == ir.DataType.FLOAT and weight.nbytes > MIN_EXTERNAL_BYTES:
            _store_weight_as_half(model.graph, value, weight)
    written = save_graph(model, target, data_from=0)
    half = target.with_name(half_graph(target.name))
    model = ir.load(target)  # refers to the same weights file
    for node in [node for node in model.graph if node.op_type in _HALF_OPERATORS]:
        _compute_in_half(model.graph, node)
    model.graph.sort()
    ir.save(model, half)
    return (*written, half.name)


def quantize(source: Path, target: Path, inputs: Iterator[dict[str, NDArray[Any]]]) -> tuple[str, ...]:
    """Quantise a float32 graph to int8, and return the names of the files written.

    Real `inputs` give the smallest and the largest value of each activation. A graph without products to quantise stays
    float32.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    graph = ir.load(source).graph
    weights = {name: value.const_value for name, value in graph.initializers.items() if value.const_value is not None}
    matrices = {name for name, weight in weights.items() if len(weight.shape) == 2 and name not in _PROJECTIONS}
    products = [node.name for node in graph if node.op_type == "MatMul" and _name(node.inputs[1]) in matrices]
    if not products:  # an empty list means all to the quantiser
        return save_graph(ir.load(source), target)
    with silence_logger(None), tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
        quantised = Path(scratch) / target.name
        quantize_static(
            source,
            quantised,
            SimpleNamespace(get_next=lambda: next(inputs, None)),
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


def _store_weight_as_half(graph: ir.Graph, value: ir.Value, weight: ir.TensorProtocol) -> None:
    """Store a weight in float16, followed by a cast to float32, which ONNX Runtime applies once, on loading."""
    name, half = _name(value), weight.numpy().astype(np.float16)
    users = list(value.uses())
    graph.initializers.pop(name)
    stored = ir.Value(name=f"{name}.float16", const_value=ir.tensor(half, name=f"{name}.float16"))
    stored.shape, stored.dtype = value.shape, ir.DataType.FLOAT16
    graph.register_initializer(stored)
    cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT.value})
    cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = name, ir.DataType.FLOAT, value.shape
    for use in users:
        use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.insert_before(graph[0], cast)


def _compute_in_half(graph: ir.Graph, node: ir.Node) -> None:
    """Let a node take and return float16, between casts; a weight is taken as stored."""
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype not in (ir.DataType.FLOAT, None):
            continue
        producer = value.producer()
        half = producer.inputs[0] if producer is not None and producer.op_type == "Cast" else None
        if half is None or not half.is_initializer():
            cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT16.value})
            graph.insert_before(node, cast)
            half = cast.outputs[0]
        node.replace_input_with(index, half)
    output = node.outputs[0]
    users = list(output.uses())
    cast = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT.value})
    full = cast.outputs[0]
    full.dtype, full.shape, output.dtype = ir.DataType.FLOAT, output.shape, ir.DataType.FLOAT16
    for use in users:
        use.node.replace_input_with(use.idx, full)
    graph.insert_after(node, cast)


def _name(value: ir.Value | None) -> str:
    return "" if value is None or value.name is None else value.name
