"""The response shape ``labels``: the scores of a model's labels for each image, as the hosted classifier gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import ConfigError, InputError, RequestError
from medimageinsight.prompts import label_prompts
from medimageinsight.tasks import probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]

TEMPLATE = "{}."  # as in the hosted fine-tuning
MAX_LABELS_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelVectors:
    """Labels with the embeddings of their prompts, (L, D) float32."""

    labels: tuple[str, ...]
    vectors: Vector

    def scores(self, image: Vector, logit_scale: float) -> list[dict[str, Any]]:
        """Return ``{"label", "score"}`` for each label, highest score first; the scores sum to 1.

        Args:
            image: The embedding, (D,) float32.
            logit_scale: The model's.
        """
        values = probabilities(image, self.vectors, logit_scale).tolist()
        ranked = sorted(zip(self.labels, values, strict=True), key=lambda item: -item[1])
        return [{"label": label, "score": score} for label, score in ranked]


def label_texts(labels: Sequence[str]) -> list[str]:
    """Return the prompt of each label.

    Raises:
        RequestError: ``labels_missing``, there are no labels.
        InputError: A label is empty or repeated.
    """
    if not labels:
        raise RequestError(
            "expected a model with labels for the response shape 'labels', got one without: start the server with "
            "--labels, or choose another shape",
            code="labels_missing",
        )
    return [prompts[0] for prompts in label_prompts(labels, template=TEMPLATE).values()]


def read_labels(words: Sequence[str]) -> tuple[str, ...]:
    """Return labels, given themselves or as one UTF-8 file with a label in each line.

    Raises:
        ConfigError: The file cannot be read (``labels_invalid``).
        InputError: A label is empty or repeated.
    """
    labels = tuple(words)
    if len(labels) == 1 and Path(labels[0]).is_file():
        labels = _read_lines(Path(labels[0]))
    label_texts(labels)
    return labels


def to_label_results(results: Sequence[Any]) -> list[Any]:
    """Return the results of rows, those without an image as errors."""
    missing = InputError("expected an image to classify, got a row without one", code="image_empty")
    return [missing if getattr(result, "image", result) is None else result for result in results]


def _read_lines(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > MAX_LABELS_BYTES:
            raise ValueError
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError):
        raise ConfigError(
            f"expected labels in a text file in UTF-8 of at most {MAX_LABELS_BYTES:,} bytes, a line each, got another",
            code="labels_invalid",
        ) from None
    return tuple(line.strip() for line in lines if line.strip())
