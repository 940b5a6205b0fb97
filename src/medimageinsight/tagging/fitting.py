"""Fit taggers: choose a threshold for each tag on labelled images, and evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.patients import count_unknown, reject_shared_patients
from medimageinsight.metrics.thresholds import Criterion, choose_threshold
from medimageinsight.tagging.prompts import TagPrompts, embed_tags, prompt_scores
from medimageinsight.tagging.tagger import Tag, Tagger, adapter_scores, check_score_arrays, score_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from medimageinsight.adapters.adapter import Adapter
    from medimageinsight.adapters.labelled_embeddings import LabelledEmbeddings
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.tagging.prompts import EmbedTexts


def fit_tagger(
    prompts: Mapping[str, TagPrompts] | Sequence[str],
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    model: ModelIdentity,
    criterion: Criterion | None = None,
    adapter: Adapter | None = None,
    patients: Sequence[str] | None = None,
    known: ArrayLike | None = None,
) -> Tagger:
    """Choose a threshold for each tag on validation images.

    Args:
        prompts: The T tags with their prompts; or only their names where an adapter gives the scores.
        scores: (N, T), of `prompt_scores` or `adapter_scores`.
        truth: (N, T) bool, True where an image has a tag.
        model: The model that made the embeddings.
        criterion: What a threshold maximises; Youden's index by default.
        adapter: The adapter that gave the scores.
        patients: N ids, for the AUC's interval.
        known: (N, T) bool, False where it is not known whether an image has a tag, which is ignored; all by default.

    Raises:
        InputError: No tags (``labels_empty``), a tag without positives or without negatives (``tag_without_positives``,
            ``tag_without_negatives``; the message names it), tags without prompts or an adapter (``label_invalid``), or
            arrays that do not fit (``scores_bad``).
    """
    criterion = criterion or Criterion()
    if not prompts:
        raise InputError("expected at least one tag, got none", code="labels_empty")
    if not isinstance(prompts, Mapping) and adapter is None:
        raise InputError("expected prompts for every tag, or an adapter, got neither", code="label_invalid")
    values, flags, groups = check_score_arrays(scores, truth, patients, len(prompts))
    used = np.ones_like(flags) if known is None else np.asarray(known, dtype=bool)
    tags = []
    for column, name in enumerate(prompts):
        rows = np.flatnonzero(used[:, column])
        try:
            threshold = choose_threshold(values[rows, column], flags[rows, column], criterion)
        except InputError as error:
            raise InputError(f"tag {name!r}: {error.message}", code=error.code) from None
        tags.append(
            Tag(
                name=name,
                prompts=prompts[name] if isinstance(prompts, Mapping) and adapter is None else None,
                threshold=threshold,
                validation=score_tag(
                    values[rows, column],
                    flags[rows, column],
                    threshold,
                    groups[rows],
                    unknown_patients=count_unknown(patients, len(values)),
                ),
            )
        )
    return Tagger(tags=tuple(tags), model=model, criterion=str(criterion), adapter=adapter)


def fit_tagger_to_embeddings(
    validation: LabelledEmbeddings,
    tags: Mapping[str, TagPrompts] | Adapter,
    *,
    embed_texts: EmbedTexts,
    logit_scale: float,
    model: ModelIdentity,
    criterion: Criterion | None = None,
    test: LabelledEmbeddings | None = None,
) -> Tagger:
    """Fit a tagger to labelled embeddings for `fit_tagger`, and add figures of the test images.

    The tags have prompts, or are the labels of an adapter; see `Tagger.scores`.

    Raises:
        InputError: As `fit_tagger`, or a patient in validation and test (``patients_shared``).
    """
    prompts: Mapping[str, TagPrompts] | Sequence[str]
    if isinstance(tags, Mapping):
        prompts, adapter = tags, None
        scores = prompt_scores(validation.rows, embed_tags(embed_texts, tags), logit_scale)
    else:
        prompts, adapter = tags.labels, tags
        scores = adapter_scores(validation.rows, tags, tags.labels)
    tagger = fit_tagger(
        prompts,
        scores,
        validation.truth(tuple(prompts)),
        model=model,
        criterion=criterion,
        adapter=adapter,
        patients=validation.patients or None,
        known=validation.known(tuple(prompts)),
    )
    if test is None:
        return tagger
    reject_shared_patients(validation.patients, test.patients, "validation and test")
    test_scores = tagger.scores(test.rows, embed_texts, logit_scale)
    return tagger.with_test_figures(
        test_scores, test.truth(tagger.names), patients=test.patients or None, known=test.known(tagger.names)
    )
