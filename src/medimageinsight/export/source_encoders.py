"""The graphs of others as they are, in ONNX Runtime on the CPU: what the bundle made of them is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import CheckpointError
from medimageinsight.export.parity import Reference
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.export.graph_roles import Encoder
    from medimageinsight.export.sample_inputs import ComparisonInputs
    from medimageinsight.export.source_graph import SourceGraph, Value

_FATAL_ONLY = 4
SAME_COSINE = 0.9999  # a text alone and filled to the context, where a graph takes both
_DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16}


class SourceEncoders:
    """An image and a text encoder as their own graphs compute them, one input at a time.

    Args:
        image: The image encoder.
        text: The text encoder, which may be of the same graph.
        image_size: Height and width of images.
        context_length: Tokens that every text is filled to.
    """

    def __init__(self, image: Encoder, text: Encoder, *, image_size: tuple[int, int], context_length: int) -> None:
        self._image, self._text = image, text
        self._image_size, self._context = image_size, context_length
        self._sessions: dict[int, Any] = {}

    def compute_reference(self, inputs: ComparisonInputs) -> Reference:
        """Embed each input by itself, texts filled to the context; embeddings are L2-normalised here."""
        image = np.concatenate([self.embed_image(pixels[np.newaxis]) for pixels in inputs.pixels])
        text = np.concatenate([self.embed_text(row) for row in inputs.tokens])
        return Reference(image=image, text=text)

    def embed_image(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (1, D) of (1, 3, H, W)."""
        given = pixels.transpose(0, 2, 3, 1) if self._image.channels_last else pixels
        return self._run(self._image, {self._image.data.name: given})

    def embed_text(self, row: Sequence[int], *, filled: bool = True) -> NDArray[np.float32]:
        """Return (1, D) of a row of token ids; `filled` to the context, else as it is."""
        ids, mask = pad([row], row[-1])
        missing = ((0, 0), (0, self._context - ids.shape[1] if filled else 0))
        feeds = {self._text.data.name: np.pad(ids, missing, constant_values=row[-1])}
        if self._text.mask is not None:
            feeds[self._text.mask.name] = np.pad(mask, missing)
        return self._run(self._text, feeds)

    def takes_any_length(self, row: Sequence[int]) -> bool:
        """Return whether the text graph gives the same embedding for a text that is not filled to the context."""
        shape = self._text.data.shape
        if self._text.mask is None or (shape is not None and isinstance(shape[1], int)):
            return False
        try:
            alone = self.embed_text(row, filled=False)
        except CheckpointError:
            return False
        return float((alone * self.embed_text(row)).sum()) > SAME_COSINE

    def run_constant(self, graph: SourceGraph, output: str) -> float:
        """Return an output of one number that depends on no input.

        Raises:
            CheckpointError: The graph cannot be run, or the output has several numbers (``graph_not_runnable``).
        """
        values = self._call(graph, output, {})
        if values.size != 1:
            raise _not_runnable("an output of several numbers")
        return float(values.reshape(()))

    def _run(self, encoder: Encoder, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        rows = self._call(encoder.graph, encoder.output.name, feeds).astype(np.float32)
        norms = np.linalg.norm(rows, axis=-1, keepdims=True)
        if rows.ndim != 2 or len(rows) != 1 or not np.isfinite(norms).all() or not (norms > 0).all():
            raise _not_runnable(f"an embedding of shape {rows.shape}, or one that is not finite")
        return np.asarray(rows / norms, dtype=np.float32)

    def _call(self, graph: SourceGraph, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        given: dict[str, NDArray[Any]] = {
            value.name: feeds.get(value.name, self._unused(value)).astype(_DTYPES.get(value.dtype, np.float32))
            for value in graph.inputs
        }
        try:
            result: NDArray[Any] = self._session(graph).run([output], given)[0]
        except Exception as error:  # ONNX Runtime's errors have no common class, and name values of the graph
            raise _not_runnable(type(error).__name__) from None
        return result

    def _unused(self, value: Value) -> NDArray[Any]:
        """Return zeros for an input that the wanted output does not depend on."""
        free = {4: (1, 3, *self._image_size), 2: (1, self._context)}.get(len(value.shape or ()), (1,) * 8)
        shape = [axis if isinstance(axis, int) else free[index] for index, axis in enumerate(value.shape or ())]
        return np.zeros(shape)

    def _session(self, graph: SourceGraph) -> Any:  # noqa: ANN401 (onnxruntime has no types)
        import onnxruntime as ort

        if id(graph) not in self._sessions:
            options = ort.SessionOptions()
            options.log_severity_level = _FATAL_ONLY
            self._sessions[id(graph)] = ort.InferenceSession(
                str(graph.path), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[id(graph)]


def _not_runnable(found: str) -> CheckpointError:
    return CheckpointError(
        f"expected the graph to run in ONNX Runtime with one image or one text, got {found}: name inputs and outputs "
        "with --image-input, --text-input, --image-output and --text-output",
        code="graph_not_runnable",
    )
