"""Images with their tags, each judged by its own threshold: what a tagger, a vocabulary or prompts say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import InputError
from medimageinsight.tagging.tagger import Tagger, TagPrompts, embed_tags, prompt_scores
from medimageinsight.tagging.vocabularies import term_probabilities, vocabulary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.tagging.tagger import EmbedTexts

Tags: TypeAlias = str | Tagger | Mapping[str, TagPrompts]
"""The name of a vocabulary, a tagger, or prompts of `tag_prompts`."""

LIKELY = 0.5  # of probabilities; those of a vocabulary sum to 1, so that at most one term reaches it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """One tag of one image: its score, the threshold, and whether the score reaches it."""

    score: float
    threshold: float
    present: bool

    def to_dict(self) -> dict[str, Any]:
        """``{"score", "threshold", "present"}``, the form of the JSON documents."""
        return asdict(self)


def tag_vectors(
    vectors: ArrayLike,
    tags: Tags,
    *,
    embed_texts: EmbedTexts,
    logit_scale: float,
    model: str = "",
    threshold: float | None = None,
) -> list[dict[str, Tagged]]:
    """Tags of embeddings (N, D), by name.

    Args:
        vectors: Of images.
        tags: The name of a vocabulary, a tagger of the same model, or prompts.
        embed_texts: The model's.
        logit_scale: The model's, a logarithm.
        model: The model's name, see `vocabulary`.
        threshold: As `thresholds_of` takes it.

    Raises:
        InputError: As `thresholds_of`, or embeddings that do not fit or are not finite.
    """
    names, thresholds = thresholds_of(tags, threshold, model=model)
    if isinstance(tags, Tagger):
        scores = tags.scores(vectors, embed_texts, logit_scale)
    elif isinstance(tags, str):
        scores = term_probabilities(vectors, vocabulary(tags, model=model), embed_texts, logit_scale)
    else:
        scores = prompt_scores(vectors, embed_tags(embed_texts, tags), logit_scale)
    return [
        {
            name: Tagged(score=score, threshold=limit, present=score >= limit)
            for name, score, limit in zip(names, row, thresholds, strict=True)
        }
        for row in scores.tolist()
    ]


def check_tags(tags: Tags, model: ModelIdentity | None, threshold: float | None) -> None:
    """Refuse what `tag_vectors` would, and a tagger of another model, before any image is read.

    Args:
        tags: As in `tag_vectors`.
        model: The model at hand; None where it is a server's.
        threshold: As `thresholds_of` takes it.

    Raises:
        InputError: As `thresholds_of`, or a tagger with a model that is not known (``model_unknown``).
        ModelError: The tagger belongs to another model (``adapter_other_model``).
    """
    thresholds_of(tags, threshold, model="" if model is None else model.name)
    if isinstance(tags, Tagger):
        if model is None:
            raise InputError(
                "expected the name of a vocabulary, or prompts, got a tagger: a server does not say whether its model "
                "is the tagger's, so use it with the local model",
                code="model_unknown",
            )
        tags.model.check(model, texts=tags.adapter is None)


def thresholds_of(tags: Tags, threshold: float | None, *, model: str = "") -> tuple[tuple[str, ...], list[float]]:
    """The names of the tags, and the score from which each is there.

    Args:
        tags: As in `tag_vectors`.
        threshold: Of probabilities 0.5 when not given: of a vocabulary, and of prompts that all have negative ones.
            Prompts without them have cosines as scores, which no number suits, so that it has to be given. A tagger
            has its own.
        model: The model's name, see `vocabulary`.

    Raises:
        InputError: ``vocabulary_unknown``, ``threshold_invalid``, ``threshold_missing``, no tags (``labels_empty``).
    """
    if isinstance(tags, Tagger):
        if threshold is not None:
            raise InputError("expected no threshold with a tagger: each of its tags has one", code="threshold_invalid")
        return tags.names, tags.thresholds.tolist()
    names = tuple(vocabulary(tags, model=model) if isinstance(tags, str) else tags)
    if not names:
        raise InputError("expected at least one tag, got none", code="labels_empty")
    probable = isinstance(tags, str) or all(one.negative for one in tags.values())
    if threshold is None:
        if not probable:
            raise InputError(
                "expected a threshold, or negative prompts for every tag: without them scores are cosines, whose size "
                "differs from tag to tag, and a softmax over labels that compete is no tagger; "
                "choose thresholds on labelled images with mi2 tag fit",
                code="threshold_missing",
            )
        threshold = LIKELY
    least = 0 if probable else -1
    if not least <= threshold <= 1:
        raise InputError(f"expected a threshold from {least} to 1, got {threshold}", code="threshold_invalid")
    return names, [threshold] * len(names)
