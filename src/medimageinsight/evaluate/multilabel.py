"""Evaluate a model on labels that do not exclude each other, as those of chest X-rays: one-vs-rest, label by label."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.datasets import with_dicom_patients
from medimageinsight.errors import ConfigError, InputError
from medimageinsight.evaluate.assessment import AssessmentSettings
from medimageinsight.evaluate.embedding import EmbeddedTable, embed_samples
from medimageinsight.evaluate.evaluation_data import number_sample_patients
from medimageinsight.evaluate.methods import Choice
from medimageinsight.evaluate.multilabel_figures import LabelCounts, MultilabelMethod, count_labels, score_labels
from medimageinsight.evaluate.multilabel_methods import (
    LabelledImages,
    score_neighbours,
    score_probe,
    score_zero_shot_labels,
)
from medimageinsight.evaluate.prompt_set import PromptSet
from medimageinsight.evaluate.rate_gaps import RateGap, find_rate_gaps
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.evaluate.results import patients_phrase
from medimageinsight.metrics.thresholds import Criterion
from medimageinsight.tagging import embed_tags, prompt_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.embedding import Model
    from medimageinsight.evaluate.label_prompts import LabelPrompts
    from medimageinsight.evaluate.label_table import LabelTable
    from medimageinsight.evaluate.multilabel_methods import MultilabelScores
    from medimageinsight.metrics.scores import Floats, Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilabelAssessment:
    """One model on one split of a table with several labels an image.

    Attributes:
        command: The command that repeats the evaluation, or ''.
        patients: Distinct patients of the scored images; an image whose patient is unknown counts as one.
        unknown_patients: Scored images whose patient is not known.
        prompt_source: Where the prompts are from, in words.
        score: How a zero-shot score is formed.
        labels: Scored images with, without and ignored for each label.
        methods: By name: zero-shot, kNN, linear probe; only those that the table allows.
        rate_gaps: Gaps between groups at the operating points.
        scores: The scores by method; not part of the JSON.
    """

    model: str
    command: str
    settings: AssessmentSettings
    images: int
    patients: int
    unknown_patients: int
    prompt_source: str
    score: str
    labels: Mapping[str, LabelCounts]
    methods: Mapping[str, MultilabelMethod]
    rate_gaps: tuple[RateGap, ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    scores: Mapping[str, MultilabelScores]

    @property
    def patients_phrase(self) -> str:
        """The number of patients in words, and of images whose patient is unknown."""
        return patients_phrase(self.images, self.patients, self.unknown_patients)

    def to_dict(self) -> dict[str, Any]:
        """Return the assessment as JSON types."""
        left_out = ("settings", "scores")
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        return {
            "multilabel": True,
            **plain,
            "settings": asdict(self.settings.evaluation),
            "train_split": self.settings.train_split,
            "val_split": self.settings.val_split,
            "criteria": list(self.settings.criteria),
            "labels": {name: asdict(counts) for name, counts in self.labels.items()},
            "methods": {name: asdict(method) for name, method in self.methods.items()},
            "rate_gaps": [asdict(gap) for gap in self.rate_gaps],
            "choices": [asdict(choice) for choice in self.choices],
            "notes": list(self.notes),
        }


def evaluate_multilabel(
    model: Model,
    table: Table,
    labels: LabelTable,
    prompts: LabelPrompts,
    *,
    settings: AssessmentSettings | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    trained: bool = True,
    name: str = "model",
    command: str = "",
    progress: Callable[[int], None] | None = None,
) -> MultilabelAssessment:
    """Embed a table and score each of its labels against the images without it.

        labels = read_label_columns(file, len(table), ["Edema", "Pleural Effusion"])
        found = evaluate_multilabel(model, table, labels, choose_label_prompts(table, labels.names))

    Images that are uncertain for a label are left out for this label. kNN and linear probes are trained where the table
    has the splits for them; without ``trained`` only the scored split is embedded, and zero-shot is the only method.
    ``groups`` has, by column, the group of every row of the table.

    Raises:
        DatasetError: The table has no such split, or images cannot be read (``dataset_broken_images``).
        InputError: Another number of labels than images (``labels_mismatched``).
        ConfigError: A label has no prompt (``prompts_incomplete``).
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or AssessmentSettings()
    if len(labels) != len(table):
        raise InputError(
            f"expected labels of each of {len(table)} images, got {len(labels)}: read both from one file",
            code="labels_mismatched",
        )
    if missing := [label for label in labels.names if label not in prompts.prompts]:
        raise ConfigError(
            f"expected a prompt for each label, got none for {', '.join(map(repr, missing[:5]))}: add them",
            code="prompts_incomplete",
        )
    split = settings.evaluation.split
    rows = np.arange(len(table))
    if split is not None:
        table.of_split(split)
        if not trained or not settings.is_held_out:
            rows = np.flatnonzero([sample.split == split for sample in table])
    table = replace(table, samples=with_dicom_patients([table.samples[row] for row in rows]))
    groups = {column: [values[int(row)] for row in rows] for column, values in (groups or {}).items()}
    images = embed_samples(model, table, table.samples, progress=progress)
    tags = embed_tags(model.embed_texts, {label: prompts.prompts[label] for label in labels.names})
    zero_shot = prompt_scores(images, tags, model.logit_scale).astype(np.float64)
    data = _divide(table, images, labels.take(rows), settings, trained=trained)
    return _assess(table, data, zero_shot, prompts, settings, groups, trained=trained, name=name, command=command)


def _divide(
    table: Table, images: NDArray[np.float32], labels: LabelTable, settings: AssessmentSettings, *, trained: bool
) -> LabelledImages:
    """Return the three parts of a table; images to train or choose on are of patients in no later part."""
    split = settings.evaluation.split
    patients = number_sample_patients(table.samples)

    def rows_of(name: str | None) -> Integers:
        return np.flatnonzero([name is None or sample.split == name for sample in table])

    nothing = np.zeros(0, dtype=np.int64)
    test = rows_of(split)
    held_out = trained and settings.is_held_out
    all_val = rows_of(settings.val_split) if held_out else nothing
    all_train = rows_of(settings.train_split) if held_out else nothing
    val = all_val[~np.isin(patients[all_val], patients[test])]
    train = all_train[~np.isin(patients[all_train], patients[np.concatenate([test, val])])]
    shared = len(all_val) - len(val) + len(all_train) - len(train)
    return LabelledImages(embeddings=images, labels=labels, train=train, val=val, test=test, shared=shared)


def _assess(
    table: Table,
    data: LabelledImages,
    zero_shot: Floats,
    prompts: LabelPrompts,
    settings: AssessmentSettings,
    groups: Mapping[str, Sequence[str]],
    *,
    trained: bool,
    name: str,
    command: str,
) -> MultilabelAssessment:
    resamples = _patients_of(table, data, settings)
    found = [
        score_zero_shot_labels(data, zero_shot),
        *((score_neighbours(data, settings.val_split), score_probe(data, settings.val_split)) if trained else ()),
    ]
    scores = {scored.method: scored for scored in found if scored is not None}
    common = [
        label
        for label in data.labels.names
        if all(label in {entry.label for entry in scored.labels} for scored in scores.values())
    ]
    criteria = [Criterion.parse(text) for text in settings.criteria] if len(data.val) else []
    methods = {method: score_labels(scored, common, criteria, resamples) for method, scored in scores.items()}
    samples = [table.samples[row] for row in data.test]
    return MultilabelAssessment(
        model=name,
        command=command,
        settings=settings,
        images=len(samples),
        patients=len(np.unique(resamples.groups)),
        unknown_patients=sum(not sample.patient_id for sample in samples),
        prompt_source=prompts.source,
        score=prompts.score,
        labels=count_labels(data.labels.take(data.test)),
        methods=methods,
        rate_gaps=tuple(
            gap
            for method, scored in scores.items()
            for gap in find_rate_gaps(groups, method, "", scored.labels, methods[method].operating.points, resamples)
        ),
        choices=(
            Choice(what="prompts", value=f"{prompts.count:,} texts", how=prompts.source),
            *(choice for scored in scores.values() for choice in scored.choices),
        ),
        notes=tuple(_notes(data, settings, scores, common, trained=trained)),
        scores=scores,
    )


def _patients_of(table: Table, data: LabelledImages, settings: AssessmentSettings) -> Resamples:
    """Return the patients of the scored images; no figure of labels is resampled."""
    no_prompts = np.zeros((0, data.embeddings.shape[1]), dtype=np.float32)
    embedded = EmbeddedTable(
        table=table,
        images=data.embeddings,
        prompts=PromptSet(rows=(), source=""),
        prompt_embeddings=no_prompts,
        logit_scale=0.0,
    )
    return Resamples.draw(embedded, replace(settings.evaluation, resamples=1))


def _notes(
    data: LabelledImages,
    settings: AssessmentSettings,
    scores: Mapping[str, MultilabelScores],
    common: Sequence[str],
    *,
    trained: bool,
) -> list[str]:
    notes = []
    ignored = int((~data.labels.known[data.test]).sum())
    if ignored:
        notes.append(f"{ignored:,} uncertain labels are ignored: their images are neither positive nor negative.")
    if data.shared:
        notes.append(
            f"{data.shared:,} images to train or to choose on were left out, as their patients are in a later split "
            "too."
        )
    if not trained:
        return notes
    if not settings.is_held_out:
        notes.append("Nothing was trained or chosen, as its images are scored: no kNN, linear probe or thresholds.")
    elif len(scores) == 1:
        notes.append(
            f"No kNN and no linear probe: they need labels with positives and negatives in the {settings.train_split} "
            f"split and images in the {settings.val_split} split."
        )
    elif absent := [label for label in data.labels.names if label not in common]:
        notes.append(f"Not in the means, as a method cannot be trained on it: {', '.join(absent)}.")
    return notes
