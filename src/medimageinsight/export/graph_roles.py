"""Which inputs and outputs of graphs are the image, the text and their embeddings: by type, shape, name, dependency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError
from medimageinsight.export.source_graph import SourceGraph, Value, graphs_within, iterate_graphs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from medimageinsight.bundle import Precision

_FLOATS = (1, 10, 16)  # float32, float16, bfloat16 of onnx.TensorProto
_INTEGERS = (6, 7)  # int32, int64
_MASKS = (*_INTEGERS, *_FLOATS, 9)  # also bool
_IMAGE_NAMES = ("pixel_values", "pixels", "images", "image", "input_image", "image_input")
_ID_NAMES = ("input_ids", "ids", "tokens", "token_ids", "text", "text_input", "input_text")
_QUANTISED = {
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearMatMul",
    "QLinearConv",
    "DequantizeLinear",
    "QAttention",
}
_EMBEDDING = re.compile(r"embed|feature|proj", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names that the caller gives; None is recognised."""

    image_input: str | None = None
    text_input: str | None = None
    mask_input: str | None = None
    image_output: str | None = None
    text_output: str | None = None


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One encoder within a graph."""

    graph: SourceGraph
    data: Value  # the image (N, 3, H, W) or (N, H, W, 3), or the token ids (N, L)
    mask: Value | None  # (N, L), of a text alone
    output: Value  # (N, D)

    @property
    def channels_last(self) -> bool:
        """Whether an image is (N, H, W, 3)."""
        shape = self.data.shape or ()
        return len(shape) == 4 and shape[3] == 3 and shape[1] != 3

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs that the output depends on."""
        return (self.data,) if self.mask is None else (self.data, self.mask)


def recognise(graphs: Sequence[SourceGraph], names: Names) -> tuple[Encoder, Encoder]:
    """Return the image encoder and the text encoder of one or several graphs.

    An image is a float input of four axes with three channels, a text an integer input of two; an embedding is a float
    output of two axes that depends on one of them alone. Among several, known names decide.

    Raises:
        CheckpointError: One is missing (``graph_role_missing``) or could be several (``graph_role_ambiguous``); the
            message lists the candidates and the option that names one.
    """
    images = [found for graph in graphs for found in _image_encoders(graph, names)]
    texts = [found for graph in graphs for found in _text_encoders(graph, names)]
    return _only(images, "image", graphs), _only(texts, "text", graphs)


def find_logit_scale(graphs: Sequence[SourceGraph]) -> tuple[SourceGraph, str] | None:
    """Return the graph and the name of an output with the logit scale, which depends on no input."""
    for graph in graphs:
        for value in graph.outputs:
            named = re.search(r"scal|temperature", value.name, re.IGNORECASE)
            if named and value.dtype in _FLOATS and not _inputs_of(graph, value.name):
                return graph, value.name
    return None


def producers(model: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the operator of each value of the outer graph."""
    return {name: node for node in model.graph.node for name in node.output if name}


def names_read(node: Any) -> set[str]:  # noqa: ANN401
    """Return the names that an operator reads, those in its inner graphs included."""
    read = {name for name in node.input if name}
    for graph in graphs_within(node):
        for found in graph.node:
            read |= names_read(found)
        read |= {value.name for value in graph.output}
    return read


def names_needed(model: Any, output: str, stop: Collection[str] = ()) -> set[str]:  # noqa: ANN401
    """Return the names that a value of the outer graph depends on, its own included, without those of `stop`."""
    made = producers(model)
    pending, needed = [output], set()
    while pending:
        name = pending.pop()
        if name in needed or name in stop:
            continue
        needed.add(name)
        if name in made:
            pending += names_read(made[name])
    return needed


def _inputs_of(graph: SourceGraph, output: str) -> frozenset[str]:
    """Return the names of the graph's inputs that an output depends on."""
    seen = names_needed(graph.model, output)
    return frozenset(value.name for value in graph.inputs if value.name in seen)


def _image_encoders(graph: SourceGraph, names: Names) -> list[Encoder]:
    candidates = [value for value in graph.inputs if value.dtype in _FLOATS and _is_image(value)]
    found = _choose(candidates, names.image_input, graph.inputs, _IMAGE_NAMES)
    if found is None:
        return []
    output = _find_output(graph, {found.name}, {found.name}, names.image_output, "image")
    return [Encoder(graph=graph, data=found, mask=None, output=output)] if output else []


def _text_encoders(graph: SourceGraph, names: Names) -> list[Encoder]:
    rows = [value for value in graph.inputs if value.shape is None or len(value.shape) == 2]
    masks = [value for value in rows if value.dtype in _MASKS and "mask" in value.name.lower()]
    mask = _choose(masks, names.mask_input, graph.inputs, ("attention_mask", "text_attention_mask"))
    candidates = [value for value in rows if value.dtype in _INTEGERS and value not in masks and value != mask]
    found = _choose(candidates, names.text_input, graph.inputs, _ID_NAMES)
    if found is None:
        return []
    allowed = {found.name, *([mask.name] if mask else [])}
    output = _find_output(graph, {found.name}, allowed, names.text_output, "text")
    if output is None:
        return []
    used = mask if mask and mask.name in _inputs_of(graph, output.name) else None
    return [Encoder(graph=graph, data=found, mask=used, output=output)]


def _is_image(value: Value) -> bool:
    if value.shape is None or len(value.shape) != 4:
        return False
    return value.shape[1] == 3 or value.shape[3] == 3 or all(not isinstance(axis, int) for axis in value.shape[1:])


def _find_output(graph: SourceGraph, needed: set[str], allowed: set[str], given: str | None, kind: str) -> Value | None:
    """Return the output that depends on the needed inputs and on no others than the allowed ones."""
    values = [
        value
        for value in graph.outputs
        if value.dtype in _FLOATS
        and (value.shape is None or len(value.shape) == 2)
        and needed <= _inputs_of(graph, value.name) <= allowed
    ]
    if given is not None:
        return next((value for value in values if value.name == given), None)
    for test in (lambda name: _EMBEDDING.search(name) and kind in name.lower(), _EMBEDDING.search):
        named = [value for value in values if test(value.name)]
        if len(named) == 1:
            return named[0]
    if len(values) > 1:
        raise CheckpointError(
            f"expected one {kind} embedding, got {_list(values)}: name it with --{kind}-output",
            code="graph_role_ambiguous",
        )
    return values[0] if values else None


def _choose(
    candidates: Sequence[Value], given: str | None, every: Sequence[Value], known: Sequence[str]
) -> Value | None:
    if given is not None:
        return next((value for value in every if value.name == given), None)
    if len(candidates) == 1:
        return candidates[0]
    by_name = {value.name.lower(): value for value in candidates}
    return next((by_name[name] for name in known if name in by_name), None)


def _only(found: list[Encoder], kind: str, graphs: Sequence[SourceGraph]) -> Encoder:
    if len(found) == 1:
        return found[0]
    described = "; ".join(graph.describe() for graph in graphs[:4])[:1200]
    if found:
        raise CheckpointError(
            f"expected one {kind} encoder, got {len(found)} ({described}): name the graphs with --from-onnx",
            code="graph_role_ambiguous",
        )
    raise CheckpointError(
        f"expected a graph with the {kind} as its input and an embedding of it alone, got none ({described}): name "
        f"them with --{kind}-input and --{kind}-output",
        code="graph_role_missing",
    )


def _list(values: Iterable[Value]) -> str:
    return ", ".join(value.describe() for value in list(values)[:8])


def precision_of(graphs: Iterable[SourceGraph]) -> Precision:
    """Return the precision of graphs: that of their least exact weights and operators."""
    found = set()
    for graph in graphs:
        for inner in iterate_graphs(graph.model):
            if any(tensor.data_type == 10 for tensor in getattr(inner, "initializer", ())):
                found.add("fp16")
            if any(node.op_type in _QUANTISED for node in inner.node):
                found.add("int8")
    return "int8" if "int8" in found else "fp16" if "fp16" in found else "fp32"
