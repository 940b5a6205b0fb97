"""Prompts of tags, their embeddings, and the scores of images against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.heads import activate
from medimageinsight.metrics.vectors import unit_rows
from medimageinsight.prompts import label_prompts
from medimageinsight.tasks.zero_shot import mean_by_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Floats
    from medimageinsight.prompts import Labels

EmbedTexts: TypeAlias = Callable[[list[str]], "NDArray[np.float32]"]
"""A function such as ``MedImageInsight.embed_texts``."""


@dataclass(frozen=True, kw_only=True)
class TagPrompts:
    """Prompts of images with a tag, which are averaged, and of images without it, if any."""

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class TagEmbeddings:
    """Positive (T, D) and negative embeddings (T, D) float32 of T tags; a row without negative prompts is 0."""

    positive: NDArray[np.float32]
    negative: NDArray[np.float32]


def tag_prompts(
    tags: Labels,
    *,
    template: str | Sequence[str] | None = None,
    fields: Mapping[str, str] | None = None,
    negative: Sequence[str] = (),
) -> dict[str, TagPrompts]:
    """Return the prompts of tags, made by `label_prompts`, all with the same negative prompts.

    Raises:
        InputError: As `label_prompts`.
    """
    if any(not text.strip() for text in negative):
        raise InputError("expected texts as negative prompts, got an empty one", code="label_invalid")
    return {
        name: TagPrompts(positive=tuple(texts), negative=tuple(negative))
        for name, texts in label_prompts(tags, template=template, fields=fields).items()
    }


def embed_tags(embed_texts: EmbedTexts, prompts: Mapping[str, TagPrompts]) -> TagEmbeddings:
    """Return the mean embeddings of each tag's prompts."""
    texts = [text for tag in prompts.values() for text in (*tag.positive, *tag.negative)]
    embedded = iter(np.asarray(embed_texts(texts), dtype=np.float32))
    positive, negative = [], []
    for tag in prompts.values():
        rows = np.stack([next(embedded) for _ in tag.positive])
        positive.append(mean_by_label(rows, [len(rows)])[0])
        others = [next(embedded) for _ in tag.negative]
        negative.append(mean_by_label(np.stack(others), [len(others)])[0] if others else np.zeros_like(positive[-1]))
    return TagEmbeddings(positive=np.stack(positive), negative=np.stack(negative))


def prompt_scores(vectors: ArrayLike, tags: TagEmbeddings, logit_scale: float) -> NDArray[np.float32]:
    """Return scores (N, T) of embeddings (N, D): cosines, or probabilities of tags with negative prompts.

    A probability is the softmax of ``exp(logit_scale) * cosine`` over the positive and the negative embedding.

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    cosines, negative = tag_cosines(vectors, tags)
    contrasts = activate(np.exp(logit_scale) * (cosines - negative), "sigmoid")
    has_negative = np.any(tags.negative != 0, axis=1)
    return np.where(has_negative, contrasts, cosines).astype(np.float32)


def tag_cosines(vectors: ArrayLike, tags: TagEmbeddings) -> tuple[Floats, Floats]:
    """Return the cosines (N, T) float64 of embeddings (N, D) with the positive and with the negative embeddings.

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    rows = unit_rows(vectors, name="image vectors", dim=tags.positive.shape[1]).astype(np.float64)
    return rows @ tags.positive.T, rows @ tags.negative.T
