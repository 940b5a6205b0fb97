"""Tag images by a tagger, a vocabulary or prompts: the score, the threshold and the presence of each tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import InputError
from medimageinsight.tagging.prompts import TagPrompts, embed_tags, prompt_scores
from medimageinsight.tagging.tagger import Tagger
from medimageinsight.tagging.vocabularies import term_probabilities, vocabulary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.tagging.prompts import EmbedTexts

Tags: TypeAlias = str | Tagger | Mapping[str, TagPrompts]
"""The name of a vocabulary, a tagger, or prompts of `tag_prompts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResult:
    """One tag of one image: its score, the threshold, and ``present`` if the score reaches it."""

    score: float
    threshold: float
    present: bool

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"score", "threshold", "present"}``, the form of the JSON documents."""
        return asdict(self)


def tag_vectors(
    vectors: ArrayLike,
    tags: Tags,
    *,
    embed_texts: EmbedTexts,
    logit_scale: float,
    model: str = "",
    threshold: float | None = None,
) -> list[dict[str, TagResult]]:
    """Return the tags of embeddings (N, D), by name.

    ``embed_texts``, ``logit_scale`` (a logarithm) and the name ``model`` are those of the model, which a tagger has to
    fit. See `tag_thresholds` for the threshold.

    Raises:
        InputError: As `tag_thresholds`, or embeddings that do not fit or are not finite.
    """
    names, thresholds = tag_thresholds(tags, threshold, model=model)
    if isinstance(tags, Tagger):
        scores = tags.scores(vectors, embed_texts, logit_scale)
    elif isinstance(tags, str):
        scores = term_probabilities(vectors, vocabulary(tags, model=model), embed_texts, logit_scale)
    else:
        scores = prompt_scores(vectors, embed_tags(embed_texts, tags), logit_scale)
    return [
        {
            name: TagResult(score=score, threshold=limit, present=score >= limit)
            for name, score, limit in zip(names, row, thresholds, strict=True)
        }
        for row in scores.tolist()
    ]


def check_tags(tags: Tags, model: ModelIdentity | None, threshold: float | None) -> None:
    """Refuse invalid arguments of `tag_vectors` and a tagger of another model, before any image is read.

    ``model`` is None for the model of a server.

    Raises:
        InputError: As `tag_thresholds`, or a tagger with an unknown model (``model_unknown``).
        ModelError: The tagger belongs to another model (``adapter_other_model``).
    """
    tag_thresholds(tags, threshold, model="" if model is None else model.name)
    if isinstance(tags, Tagger):
        if model is None:
            raise InputError(
                "expected the name of a vocabulary, or prompts, got a tagger: a server does not identify its model, "
                "so use taggers with a local model",
                code="model_unknown",
            )
        tags.model.check(model, texts=tags.adapter is None)


def tag_thresholds(tags: Tags, threshold: float | None, *, model: str = "") -> tuple[tuple[str, ...], list[float]]:
    """Return the names of the tags and the scores from which on they are present.

    The threshold is 0.5 by default for probabilities: of a vocabulary, and of prompts that all have negative prompts.
    Other prompts need one, since no default is suitable for cosines. A tagger has its own thresholds.

    Raises:
        InputError: ``vocabulary_unknown``, ``threshold_invalid``, ``threshold_missing``, no tags (``labels_empty``).
    """
    if isinstance(tags, Tagger):
        if threshold is not None:
            raise InputError(
                f"expected no threshold with a tagger, whose tags have their own, got {threshold}",
                code="threshold_invalid",
            )
        return tags.names, tags.thresholds.tolist()
    names = tuple(vocabulary(tags, model=model) if isinstance(tags, str) else tags)
    if not names:
        raise InputError("expected at least one tag, got none", code="labels_empty")
    are_probabilities = isinstance(tags, str) or all(prompts.negative for prompts in tags.values())
    if threshold is None:
        if not are_probabilities:
            raise InputError(
                "expected a threshold, or negative prompts for every tag, got neither: without negative prompts scores "
                "are cosines, whose size differs from tag to tag, and a softmax over labels that compete does not tag; "
                "choose thresholds on labelled images with mi2 tag fit",
                code="threshold_missing",
            )
        threshold = 0.5  # a vocabulary's probabilities sum to 1, so that at most one term is present
    minimum = 0 if are_probabilities else -1
    if not minimum <= threshold <= 1:
        raise InputError(f"expected a threshold from {minimum} to 1, got {threshold}", code="threshold_invalid")
    return names, [threshold] * len(names)
