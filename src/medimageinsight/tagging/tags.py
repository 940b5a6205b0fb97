"""Tag images by a tagger, a vocabulary or prompts: the score, the threshold and the presence of each tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.bundle import warn_of_words
from medimageinsight.errors import InputError
from medimageinsight.tagging.prompts import TagPrompts, embed_tags, prompt_scores, tag_cosines
from medimageinsight.tagging.tagger import Tagger, adapter_scores
from medimageinsight.tagging.vocabularies import cosine_probabilities, term_cosines, vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle import ModelIdentity, ValidationStatistics
    from medimageinsight.metrics.scores import Floats
    from medimageinsight.tagging.prompts import EmbedTexts

Tags: TypeAlias = str | Tagger | Mapping[str, TagPrompts]
"""The name of a vocabulary, a tagger, or prompts of `tag_prompts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResult:
    """One tag of one image: its score, the threshold, and ``present`` if the score reaches it.

    ``cosine`` is that of the image with the tag's prompts; None if an adapter gives the score.
    """

    score: float
    threshold: float
    present: bool
    cosine: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"score", "threshold", "present", "cosine"}``, the form of the JSON documents."""
        return asdict(self)


class ImageTags(dict[str, TagResult]):
    """The tags of one image, by name.

    Attributes:
        cosine: The best cosine of the image with any of the prompts, negative ones included; None for an adapter.
        unlike_validation: As in `tasks.ZeroShotResult`.
        unknown_words: Words of the prompts that the model never learned.
    """

    def __init__(
        self,
        tags: Mapping[str, TagResult],
        *,
        cosine: float | None = None,
        unlike_validation: bool | None = None,
        unknown_words: tuple[str, ...] = (),
    ) -> None:
        super().__init__(tags)
        self.cosine = cosine
        self.unlike_validation = unlike_validation
        self.unknown_words = unknown_words

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the JSON documents; ``warnings`` is left out if there are none."""
        warning = warn_of_words(self.unknown_words)
        return {
            "tags": {name: tag.to_dict() for name, tag in self.items()},
            "cosine": self.cosine,
            "unlike_validation": self.unlike_validation,
        } | ({} if warning is None else {"warnings": [warning]})


def tag_vectors(
    vectors: ArrayLike,
    tags: Tags,
    *,
    embed_texts: EmbedTexts,
    logit_scale: float,
    model: str = "",
    threshold: float | None = None,
    statistics: ValidationStatistics | None = None,
    unknown_words: Callable[[Iterable[str]], tuple[str, ...]] | None = None,
) -> list[ImageTags]:
    """Return the tags of embeddings (N, D), by name.

    ``embed_texts``, ``logit_scale`` (a logarithm), the name ``model``, ``statistics`` and ``unknown_words`` are those
    of the model, which a tagger has to fit. See `tag_thresholds` for the threshold.

    Raises:
        InputError: As `tag_thresholds`, or embeddings that do not fit or are not finite.
    """
    names, thresholds = tag_thresholds(tags, threshold, model=model)
    scores, cosines, best = _score(vectors, tags, embed_texts, logit_scale, model)
    texts = [] if isinstance(tags, str) else tag_texts(tags)  # the words of a vocabulary are this project's
    unknown = () if unknown_words is None else unknown_words(texts)
    unlike = [None] * len(scores) if statistics is None else statistics.unlike(vectors)
    absent = [None] * len(names)
    return [
        ImageTags(
            {
                name: TagResult(score=score, threshold=limit, present=score >= limit, cosine=cosine)
                for name, score, limit, cosine in zip(
                    names, row, thresholds, absent if cosines is None else cosines[index].tolist(), strict=True
                )
            },
            cosine=None if best is None else float(best[index]),
            unlike_validation=unlike[index],
            unknown_words=unknown,
        )
        for index, row in enumerate(scores.tolist())
    ]


def tag_texts(tags: Tags, *, model: str = "") -> list[str]:
    """Return the texts that the tags' scores depend on; none where an adapter gives them."""
    if isinstance(tags, str):
        return [text for terms in vocabulary(tags, model=model).values() for text in terms]
    return [text for prompts in _prompts(tags).values() for text in (*prompts.positive, *prompts.negative)]


def _prompts(tags: Tagger | Mapping[str, TagPrompts]) -> Mapping[str, TagPrompts]:
    if isinstance(tags, Tagger):
        return {tag.name: tag.prompts for tag in tags.tags if tag.prompts is not None}
    return tags


def _score(
    vectors: ArrayLike, tags: Tags, embed_texts: EmbedTexts, logit_scale: float, model: str
) -> tuple[NDArray[np.float32], Floats | None, Floats | None]:
    """Return scores (N, T), cosines with the tags' prompts (N, T), and the best cosine of each image (N,)."""
    if isinstance(tags, str):
        cosines = term_cosines(vectors, vocabulary(tags, model=model), embed_texts)
        return cosine_probabilities(cosines, logit_scale), cosines, cosines.max(axis=1)
    if isinstance(tags, Tagger) and tags.adapter is not None:
        return adapter_scores(vectors, tags.adapter, tags.names), None, None
    embedded = embed_tags(embed_texts, _prompts(tags))
    positive, negative = tag_cosines(vectors, embedded)
    has_negative = np.any(embedded.negative != 0, axis=1)
    best = np.maximum(positive, np.where(has_negative, negative, -1)).max(axis=1)
    return prompt_scores(vectors, embedded, logit_scale), positive, best


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
