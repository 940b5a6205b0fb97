"""Adapter files: JSON with base64 weights; they contain no code and can be read in a text editor."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medimageinsight.adapters.adapter import Adapter
from medimageinsight.adapters.figures import AdapterFigures  # noqa: TC001 - strict.build reads the fields' types
from medimageinsight.bundle import ModelIdentity  # noqa: TC001
from medimageinsight.files.json import invalid_file, read_document, write_document
from medimageinsight.metrics.heads import Layer

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

KIND = "adapter"


@dataclass(frozen=True, kw_only=True)
class LayerDocument:
    """A layer in a file: base64 of little-endian float32, the weight in C order of (inputs, outputs)."""

    inputs: int
    outputs: int
    weight: str
    bias: str


@dataclass(frozen=True, kw_only=True)
class AdapterDocument:
    """The file's keys except ``format`` and ``kind`` (``adapter``); ``head`` is the adapter's kind."""

    head: Literal["linear", "mlp"]
    outputs: Literal["softmax", "sigmoid"]
    labels: tuple[str, ...]
    temperature: float
    model: ModelIdentity
    figures: tuple[AdapterFigures, ...]
    training: dict[str, Any]
    layers: tuple[LayerDocument, ...]


def save_adapter(adapter: Adapter, path: str | os.PathLike[str]) -> None:
    """Write an adapter file; an existing file is replaced once the new one is complete.

    Raises:
        OSError: The file cannot be written.
    """
    write_document(path, to_document(adapter), kind=KIND)


def load_adapter(path: str | os.PathLike[str], *, model: ModelIdentity | None = None) -> Adapter:
    """Read an adapter file for embeddings of ``model``; without it only their length is checked, in `predict`.

    Raises:
        ModelError: It belongs to another model (``adapter_other_model``), is too large (``adapter_too_large``), of a
            newer version (``adapter_too_new``), or not of the form (``adapter_invalid``).
        OSError: It cannot be read.
    """
    adapter = from_document(read_document(path, AdapterDocument, kind=KIND))
    if model is not None:
        adapter.model.check(model)
    return adapter


def to_document(adapter: Adapter) -> dict[str, Any]:
    """Return the adapter as JSON values, with the keys of `AdapterDocument`."""
    return {
        "head": adapter.kind,
        "outputs": adapter.outputs,
        "labels": adapter.labels,
        "temperature": adapter.temperature,
        "model": asdict(adapter.model),
        "figures": [asdict(figures) for figures in adapter.figures],
        "training": adapter.training,
        "layers": [
            {
                "inputs": layer.weight.shape[0],
                "outputs": layer.weight.shape[1],
                "weight": _encode_array(layer.weight),
                "bias": _encode_array(layer.bias),
            }
            for layer in adapter.layers
        ],
    }


def from_document(document: AdapterDocument) -> Adapter:
    """Return the adapter of a document and check its shapes.

    Raises:
        ModelError: ``adapter_invalid``.
    """
    layer_count = {"linear": 1, "mlp": 2}[document.head]
    if len(document.layers) != layer_count:
        raise invalid_file(KIND, f"expected {layer_count} layers, got {len(document.layers)}")
    widths = [document.model.embedding_dim, *(layer.outputs for layer in document.layers)]
    if [layer.inputs for layer in document.layers] != widths[:-1] or widths[-1] != len(document.labels):
        raise invalid_file(KIND, "its layers do not lead from the model's vectors to its labels")
    if len(set(document.labels)) != len(document.labels) or not document.labels:
        raise invalid_file(KIND, "expected at least one label and every label once")
    if not (math.isfinite(document.temperature) and document.temperature > 0):
        raise invalid_file(KIND, f"expected a temperature above 0, got {document.temperature}")
    layers = tuple(
        Layer(
            weight=_decode_array(layer.weight, (layer.inputs, layer.outputs)),
            bias=_decode_array(layer.bias, (layer.outputs,)),
        )
        for layer in document.layers
    )
    return Adapter(
        labels=document.labels,
        kind=document.head,
        outputs=document.outputs,
        layers=layers,
        temperature=document.temperature,
        model=document.model,
        figures=document.figures,
        training=document.training,
    )


def _encode_array(array: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode("ascii")


def _decode_array(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_file(KIND, "its weights are not base64") from None
    # Python's integers do not overflow for any shape in a file.
    if min(shape) < 1 or len(content) != 4 * math.prod(shape):
        raise invalid_file(KIND, f"expected weights of shape {shape}, got {len(content):,} bytes")
    array: NDArray[np.float32] = np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise invalid_file(KIND, "its weights contain NaN or infinity")
    return array
