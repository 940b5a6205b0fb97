"""Tagging: any number of tags an image, each said to be there or not by a threshold of its own.

A tag's score is the cosine to its prompts, or, with negative prompts, how much nearer the image is to the positive than
to the negative ones; or the probability of an adapter. What a score means differs from tag to tag, so a threshold is
chosen for each on labelled validation images.

    prompts = tag_prompts(["Effusion", "Nodule"], template="x-ray chest {}", negative=["x-ray chest No Finding"])
    scores = prompt_scores(images, embed_tags(model.embed_texts, prompts), model.logit_scale)
    tagger = fit_tagger(prompts, scores, truth, model=identity, criterion=Criterion.parse("sensitivity:0.95"))
    tagger.present(scores)                                                          # (N, T) bool
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.bootstrap import (
    Figure,
    draw_multiplicities,
    figure,
)
from medimageinsight.metrics.heads import activate
from medimageinsight.metrics.scores import weighted_roc_auc
from medimageinsight.metrics.thresholds import Criterion, Operation, choose_threshold, operate
from medimageinsight.metrics.vectors import number_patients, unit_rows
from medimageinsight.prompts import label_prompts
from medimageinsight.tasks.zero_shot import mean_by_label

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.adapters.adapter import Adapter
    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.metrics.scores import Flags, Floats, Integers
    from medimageinsight.prompts import Labels

EmbedTexts: TypeAlias = Callable[[list[str]], "NDArray[np.float32]"]
"""As ``MedImageInsight.embed_texts``."""

RESAMPLES = 1000  # of the AUC's interval


@dataclass(frozen=True, kw_only=True)
class TagPrompts:
    """What a tag looks like in words: prompts that are averaged, and those that say it is not there, if any."""

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class TagEmbeddings:
    """Positive (T, D) and negative embeddings (T, D) float32 of T tags; a row without negative prompts is 0."""

    positive: NDArray[np.float32]
    negative: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TagFigures:
    """How good a tag is on one set of images: the threshold's operation, and the ROC AUC, which no threshold is in."""

    operation: Operation
    auc: Figure | None


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag.

    Attributes:
        name: What it is called.
        prompts: None where an adapter gives the score.
        threshold: The score from which it is there.
        validation: Figures of the images that chose the threshold, which flatter it.
        test: Figures of others; None where there were none.
    """

    name: str
    prompts: TagPrompts | None
    threshold: float
    validation: TagFigures
    test: TagFigures | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Tagger:
    """Tags with their thresholds.

    Attributes:
        tags: T of them.
        model: Whose vectors it is for.
        criterion: What chose the thresholds.
        adapter: What gives the scores; None where prompts do.
    """

    tags: tuple[Tag, ...]
    model: ModelIdentity
    criterion: str
    adapter: Adapter | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tags' names, in the order of the scores."""
        return tuple(tag.name for tag in self.tags)

    @property
    def thresholds(self) -> Floats:
        """(T,) float64."""
        return np.array([tag.threshold for tag in self.tags], dtype=np.float64)

    def scores(self, vectors: ArrayLike, embed_texts: EmbedTexts, logit_scale: float) -> NDArray[np.float32]:
        """Scores (N, T) float32 of embeddings (N, D).

        Args:
            vectors: Of images.
            embed_texts: The model's; not called where an adapter gives the scores.
            logit_scale: The model's, a logarithm.

        Raises:
            InputError: Embeddings that do not fit or are not finite.
        """
        if self.adapter is not None:
            return adapter_scores(vectors, self.adapter, self.names)
        prompts = {tag.name: tag.prompts for tag in self.tags if tag.prompts is not None}
        return prompt_scores(vectors, embed_tags(embed_texts, prompts), logit_scale)

    def present(self, scores: ArrayLike) -> Flags:
        """Which tags are there: (N, T) bool of scores (N, T)."""
        flags: Flags = np.asarray(scores, dtype=np.float64) >= self.thresholds
        return flags

    def tested(self, scores: ArrayLike, truth: ArrayLike, *, patients: Sequence[str] | None = None) -> Tagger:
        """The tagger with figures of images that did not choose its thresholds, where they have a tag and lack it.

        Args:
            scores: (N, T).
            truth: (N, T) bool.
            patients: N ids, for the AUC's interval.
        """
        values, flags, groups = _checked(scores, truth, patients, len(self.tags))
        tags = [
            replace(tag, test=_figures(values[:, place], flags[:, place], tag.threshold, groups))
            if len(np.unique(flags[:, place])) == 2
            else tag
            for place, tag in enumerate(self.tags)
        ]
        return replace(self, tags=tuple(tags))


def tag_prompts(
    tags: Labels,
    *,
    template: str | Sequence[str] | None = None,
    fields: Mapping[str, str] | None = None,
    negative: Sequence[str] = (),
) -> dict[str, TagPrompts]:
    """The prompts of tags, as `label_prompts` makes them, all with the same negative ones.

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
    """The mean embeddings of each tag's prompts."""
    texts = [text for one in prompts.values() for text in (*one.positive, *one.negative)]
    embedded = iter(np.asarray(embed_texts(texts), dtype=np.float32))
    positive, negative = [], []
    for one in prompts.values():
        rows = np.stack([next(embedded) for _ in one.positive])
        positive.append(mean_by_label(rows, [len(rows)])[0])
        others = [next(embedded) for _ in one.negative]
        negative.append(mean_by_label(np.stack(others), [len(others)])[0] if others else np.zeros_like(positive[-1]))
    return TagEmbeddings(positive=np.stack(positive), negative=np.stack(negative))


def prompt_scores(vectors: ArrayLike, tags: TagEmbeddings, logit_scale: float) -> NDArray[np.float32]:
    """Scores (N, T) of embeddings (N, D): cosines, or probabilities where a tag has negative prompts.

    A probability is the softmax of ``exp(logit_scale) * cosine`` over the positive and the negative side.

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    rows = unit_rows(vectors, what="image vectors", dim=tags.positive.shape[1]).astype(np.float64)
    cosines = rows @ tags.positive.T
    contrasts = activate(np.exp(logit_scale) * (cosines - rows @ tags.negative.T), "sigmoid")
    has_negative = np.any(tags.negative != 0, axis=1)
    return np.where(has_negative, contrasts, cosines).astype(np.float32)


def adapter_scores(vectors: ArrayLike, adapter: Adapter, names: Sequence[str]) -> NDArray[np.float32]:
    """Scores (N, T) of embeddings (N, D): the adapter's probabilities of the named labels.

    Raises:
        InputError: A tag that the adapter has no label for (``label_unknown``), or embeddings that do not fit.
    """
    if unknown := [name for name in names if name not in adapter.labels]:
        raise InputError(
            f"expected tags that the adapter knows, got {', '.join(map(repr, unknown[:5]))}: leave them out",
            code="label_unknown",
        )
    scores: NDArray[np.float32] = adapter.predict(vectors)[:, [adapter.labels.index(name) for name in names]]
    return scores


def fit_tagger(
    prompts: Mapping[str, TagPrompts] | Sequence[str],
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    model: ModelIdentity,
    criterion: Criterion | None = None,
    adapter: Adapter | None = None,
    patients: Sequence[str] | None = None,
) -> Tagger:
    """Choose a threshold for each tag on validation images.

    Args:
        prompts: The T tags with their prompts; or their names alone where an adapter gives the scores.
        scores: (N, T), of `prompt_scores` or `adapter_scores`.
        truth: (N, T) bool, whether an image has a tag.
        model: Whose vectors were scored.
        criterion: What a good threshold is; Youden's when not given.
        adapter: What gave the scores.
        patients: N ids, for the AUC's interval.

    Raises:
        InputError: No tags (``labels_empty``), one without positives or without negatives (``tag_without_positives``,
            ``tag_without_negatives``; the message names it), tags without prompts or an adapter (``label_invalid``), or
            arrays that do not fit (``scores_bad``).
    """
    criterion = criterion or Criterion()
    if not prompts:
        raise InputError("expected at least one tag, got none", code="labels_empty")
    if not isinstance(prompts, Mapping) and adapter is None:
        raise InputError("expected prompts for every tag, or an adapter, got neither", code="label_invalid")
    values, flags, groups = _checked(scores, truth, patients, len(prompts))
    tags = []
    for place, name in enumerate(prompts):
        try:
            threshold = choose_threshold(values[:, place], flags[:, place], criterion)
        except InputError as error:
            raise InputError(f"tag {name!r}: {error.message}", code=error.code) from None
        tags.append(
            Tag(
                name=name,
                prompts=prompts[name] if isinstance(prompts, Mapping) and adapter is None else None,
                threshold=threshold,
                validation=_figures(values[:, place], flags[:, place], threshold, groups),
            )
        )
    return Tagger(tags=tuple(tags), model=model, criterion=str(criterion), adapter=adapter)


def _figures(scores: Floats, positives: Flags, threshold: float, groups: Integers) -> TagFigures:
    weights = draw_multiplicities(groups, np.zeros_like(groups), resamples=RESAMPLES, seed=0)
    auc = weighted_roc_auc(scores, positives, np.concatenate([np.ones((1, len(scores)), dtype=np.float32), weights]))
    return TagFigures(
        operation=operate(scores, positives, threshold),
        auc=figure(auc[0], auc[1:], count=len(scores), confidence=0.95),
    )


def _checked(
    scores: ArrayLike, truth: ArrayLike, patients: Sequence[str] | None, tags: int
) -> tuple[Floats, Flags, Integers]:
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=bool)
    if values.ndim != 2 or values.shape != flags.shape or values.shape[1] != tags:
        raise InputError(
            f"expected scores and truth of shape (N, {tags}), got {values.shape} and {flags.shape}", code="scores_bad"
        )
    return values, flags, number_patients(patients, len(values))
