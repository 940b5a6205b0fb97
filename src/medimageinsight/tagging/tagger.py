"""Taggers: any number of tags for each image, each present or absent by a threshold of its own.

A tag's score is the cosine to its prompts; with negative prompts, the probability that the image is closer to the
positive than to the negative prompts; or an adapter's probability. Scores of different tags are not comparable, so each
tag has a threshold, chosen on labelled validation images.

    prompts = tag_prompts(["Effusion", "Nodule"], template="x-ray chest {}", negative=["x-ray chest No Finding"])
    scores = prompt_scores(images, embed_tags(model.embed_texts, prompts), model.logit_scale)
    tagger = fit_tagger(prompts, scores, truth, model=identity, criterion=Criterion.parse("sensitivity:0.95"))
    tagger.present(scores)                                                          # (N, T) bool
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.bootstrap import Figure  # noqa: TC001 - strict.build reads the types of the fields
from medimageinsight.metrics.intervals import auc_figure
from medimageinsight.metrics.patients import count_unknown, number_patients
from medimageinsight.metrics.thresholds import ThresholdFigures, score_threshold
from medimageinsight.tagging.prompts import TagPrompts, embed_tags, prompt_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.adapters.adapter import Adapter
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.metrics.scores import Flags, Floats, Integers
    from medimageinsight.tagging.prompts import EmbedTexts


@dataclass(frozen=True, kw_only=True)
class TagFigures:
    """Performance of a tag on one set of images: at its threshold, and the ROC AUC, which does not depend on it.

    ``auc`` is None with too few patients with or without the tag, see `MIN_POSITIVES`.
    """

    operation: ThresholdFigures
    auc: Figure | None
    unknown_patients: int = 0  # images whose patient is not known


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag.

    Attributes:
        name: The name.
        prompts: None where an adapter gives the score.
        threshold: The tag is present from this score on.
        validation: Figures of the images that the threshold was chosen on, which are optimistic.
        test: Figures of other images, if there were any.
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
        tags: T tags.
        model: The model whose embeddings it takes.
        criterion: How the thresholds were chosen.
        adapter: Gives the scores; None where prompts do.
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
        """Return scores (N, T) float32 of embeddings (N, D).

        ``embed_texts`` and ``logit_scale``, a logarithm, are the model's; with an adapter they are not used.

        Raises:
            InputError: Embeddings that do not fit or are not finite.
        """
        if self.adapter is not None:
            return adapter_scores(vectors, self.adapter, self.names)
        prompts = {tag.name: tag.prompts for tag in self.tags if tag.prompts is not None}
        return prompt_scores(vectors, embed_tags(embed_texts, prompts), logit_scale)

    def present(self, scores: ArrayLike) -> Flags:
        """Return which tags are present: (N, T) bool of scores (N, T)."""
        flags: Flags = np.asarray(scores, dtype=np.float64) >= self.thresholds
        return flags

    def with_test_figures(
        self,
        scores: ArrayLike,
        truth: ArrayLike,
        *,
        patients: Sequence[str] | None = None,
        known: ArrayLike | None = None,
    ) -> Tagger:
        """Return the tagger with figures of test images, for the tags that some of the images have and some lack.

        Scores, truth and ``known`` are (N, T), as of `fit_tagger`; the N patient ids are for the AUC's interval.
        """
        values, flags, groups = check_score_arrays(scores, truth, patients, len(self.tags))
        unknown = count_unknown(patients, len(values))
        used = np.ones_like(flags) if known is None else np.asarray(known, dtype=bool)
        tags = []
        for column, tag in enumerate(self.tags):
            rows = np.flatnonzero(used[:, column])
            if len(np.unique(flags[rows, column])) == 2:
                figures = score_tag(
                    values[rows, column], flags[rows, column], tag.threshold, groups[rows], unknown_patients=unknown
                )
                tags.append(replace(tag, test=figures))
            else:
                tags.append(tag)
        return replace(self, tags=tuple(tags))


def adapter_scores(vectors: ArrayLike, adapter: Adapter, names: Sequence[str]) -> NDArray[np.float32]:
    """Return scores (N, T) of embeddings (N, D): the adapter's probabilities of the named labels.

    Raises:
        InputError: A tag that is not a label of the adapter (``label_unknown``), or embeddings that do not fit.
    """
    if unknown := [name for name in names if name not in adapter.labels]:
        raise InputError(
            f"expected tags that are labels of the adapter, got {', '.join(map(repr, unknown[:5]))}: leave them out",
            code="label_unknown",
        )
    scores: NDArray[np.float32] = adapter.predict(vectors)[:, [adapter.labels.index(name) for name in names]]
    return scores


def score_tag(
    scores: Floats, positives: Flags, threshold: float, groups: Integers, *, unknown_patients: int
) -> TagFigures:
    """Return the figures of one tag at its threshold; the AUC's interval is by patient."""
    auc = auc_figure(scores, positives, groups, confidence=0.95)
    return TagFigures(
        operation=score_threshold(scores, positives, threshold),
        auc=None if auc is None else replace(auc, count=len(scores)),
        unknown_patients=unknown_patients,
    )


def check_score_arrays(
    scores: ArrayLike, truth: ArrayLike, patients: Sequence[str] | None, tags: int
) -> tuple[Floats, Flags, Integers]:
    """Return scores and truth as arrays, and patients as numbers.

    Raises:
        InputError: Other shapes than (N, T) (``scores_bad``), or another number of ids.
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=bool)
    if values.ndim != 2 or values.shape != flags.shape or values.shape[1] != tags:
        raise InputError(
            f"expected scores and truth of shape (N, {tags}), got {values.shape} and {flags.shape}", code="scores_bad"
        )
    return values, flags, number_patients(patients, len(values))
