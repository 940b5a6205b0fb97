"""Export of the network in PyTorch to the two ONNX graphs of a bundle.

Their inputs and outputs are fixed, since other programs use them too: ``pixel_values`` float32 (N, 3, H, W) gives
``image_embeddings`` (N, D); ``input_ids`` and ``attention_mask`` int64 (N, L) give ``text_embeddings`` (N, D). They use
standard ONNX operators only and run in a plain ONNX Runtime session.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medimageinsight.bundle import EXTERNAL_DATA_SUFFIX
from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medimageinsight.network.model import UniCLModel

# Part of each graph. It is not the package's version, since a change alters the checksums that identify a model in
# stores and adapters.
GRAPH_VERSION = "0.1.0"
OPSET = 23  # the first with Attention as one operator (Gelu: 20)
EXTERNAL_DATA_FROM = 100_000_000  # bytes; larger weights go to a separate file, which can be memory-mapped
MIN_EXTERNAL_BYTES = 1024  # shapes and other small constants stay in the graph


class ImageGraph(nn.Module):
    """The image encoder as a module of its own, which the exporter requires."""

    def __init__(self, model: UniCLModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Encode normalised pixels (N, 3, H, W) as embeddings (N, D)."""
        return self.model.encode_image(pixel_values)


class TextGraph(nn.Module):
    """The text encoder as a module of its own."""

    def __init__(self, model: UniCLModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode token ids and mask (N, L) as embeddings (N, D)."""
        return self.model.encode_text(input_ids, attention_mask)


def export_image_encoder(model: UniCLModel, path: Path) -> tuple[str, ...]:
    """Write the image graph, for any batch size, and return the names of the files written.

    Args:
        model: In evaluation mode, float32, on the CPU.
        path: The graph's file; large weights go into a second file next to it.
    """
    batch = torch.export.Dim("batch")
    pixels = torch.zeros(2, 3, *model.config.image.image_size)
    return _export(ImageGraph(model), {"pixel_values": pixels}, {"pixel_values": {0: batch}}, "image_embeddings", path)


def export_text_encoder(model: UniCLModel, path: Path) -> tuple[str, ...]:
    """Write the text graph, for any batch size and length up to the context; otherwise as `export_image_encoder`."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=model.config.text.context_length)
    ids = torch.zeros(2, min(8, model.config.text.context_length), dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return _export(TextGraph(model), inputs, {name: {0: batch, 1: length} for name in inputs}, "text_embeddings", path)


def _export(
    graph: nn.Module, inputs: dict[str, Tensor], axes: dict[str, dict[int, Any]], output: str, path: Path
) -> tuple[str, ...]:
    try:
        import onnxscript  # noqa: F401 (the exporter needs it; its own error is less clear)
    except ImportError:
        raise missing_extra("export", "writing ONNX graphs") from None
    with silence_logger("torch.onnx"), warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=axes,
            input_names=list(inputs),
            output_names=[output],
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise TypeError("torch.onnx.export returned nothing")
    return save_graph(program.model, path)


def save_graph(model: Any, path: Path, *, data_from: int | None = None) -> tuple[str, ...]:  # noqa: ANN401
    """Write an `onnx_ir.Model` without traces of this machine, and return the names of the files written.

    Args:
        model: The model, which is modified.
        path: The graph's file; large weights go into a second file next to it.
        data_from: Size of weights, in bytes, that counts as large; by default `EXTERNAL_DATA_FROM`.
    """
    import onnx_ir

    _anonymise(model)
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    large = weights > (EXTERNAL_DATA_FROM if data_from is None else data_from)
    data = path.name + EXTERNAL_DATA_SUFFIX if large else None
    onnx_ir.save(model, path, external_data=data, size_threshold_bytes=MIN_EXTERNAL_BYTES)
    return (path.name,) if data is None else (path.name, data)


def _anonymise(model: Any) -> None:  # noqa: ANN401
    """Remove the exporter's records of this machine and this run: stack traces, paths, module names.

    The result depends on the network only, so one checkpoint gives the same bytes in every run.
    """
    model.producer_name, model.producer_version = "medimageinsight-onnx", GRAPH_VERSION
    graph = model.graph
    graph.name = "medimageinsight"
    nodes = list(graph.all_nodes())
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
        for value in node.outputs:
            value.metadata_props.clear()
    for item in (model, graph, *nodes, *graph.inputs, *graph.initializers.values()):
        item.doc_string = None
        item.metadata_props.clear()
    for value in list(graph.initializers.values()):
        value.name = value.name.removeprefix("model.")


@contextlib.contextmanager
def silence_logger(name: str | None) -> Iterator[None]:
    """Suppress an exporter's or quantiser's progress and warnings, which do not concern a user."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
