"""The worst errors of an evaluation as images, as the model saw them, for a reader to look at.

The images are of patients: they are written only where a user asks, to a folder of their own, under numbers.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.files.atomic import replace_folder
from medimageinsight.preprocess import to_model_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.label_scores import LabelScores
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.multilabel import MultilabelAssessment
    from medimageinsight.images import DecodedImage
    from medimageinsight.preprocess import Preprocessing

ERRORS_NAME = "errors.csv"
_IMAGE_NAME = re.compile(r"\d{4,}\.png")
_COLUMNS = ("image", "method", "row_index", "truth", "answer", "score", "score_of_truth")


class ImageOpener(Protocol):
    """The methods of a model that show what it sees; ``MedImageInsight`` has them."""

    preprocessing: Preprocessing

    def open_image(self, source: Path | bytes) -> DecodedImage:
        """Decode one image with the model's window."""


@dataclass(frozen=True, kw_only=True)
class WorstError:
    """One wrong answer.

    Attributes:
        row: The image's row in the table, from 0.
        truth: Its class; of several labels, the label or "not" and the label.
        answer: The most probable class; of several labels, the answer at the operating point, '' without one.
        score: The probability of the answer; of several labels, the label's score.
        score_of_truth: The probability of the true class; of several labels, the label's score.
    """

    method: str
    row: int
    truth: str
    answer: str
    score: float
    score_of_truth: float


def find_worst_errors(assessment: Assessment, count: int) -> tuple[WorstError, ...]:
    """Return the wrong answers of each method that give the true class the lowest probability, worst first."""
    found: list[WorstError] = []
    for by_source in assessment.scores.values():
        errors = [error for scores in by_source.values() for error in _wrong_answers(scores)]
        errors.sort(key=lambda error: (error.score_of_truth, -error.score))
        found += errors[:count]
    return tuple(found)


def find_worst_label_errors(assessment: MultilabelAssessment, count: int) -> tuple[WorstError, ...]:
    """Return the images of each method that a label ranks worst: positives below, and negatives above, the others.

    Labels with too few images for a figure are left out. With operating points (the first criterion) only wrong answers
    are errors.
    """
    found = []
    for method, scored in assessment.scores.items():
        figures = assessment.methods[method]
        thresholds = {point.label: point.threshold for point in reversed(figures.operating.points)}
        ranked: list[tuple[float, WorstError]] = []
        for scores in scored.labels:
            if scores.label in (thresholds or figures.label_auc) and scores.label in figures.label_auc:
                ranked += _ranked_errors(method, scores, thresholds.get(scores.label))
        ranked.sort(key=lambda pair: -pair[0])
        found += [error for _, error in ranked[:count]]
    return tuple(found)


def check_errors_folder(folder: str | Path) -> Path:
    """Return the folder's absolute path if errors can be written there; call it before a long run.

    Raises:
        InputError: It is a file or has other files (``errors_folder_occupied``).
    """
    folder = Path(folder).absolute()
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""} if folder.exists() else set()
    has_errors = ERRORS_NAME in names and all(_IMAGE_NAME.fullmatch(name) for name in names - {ERRORS_NAME})
    if names and not has_errors:
        raise InputError(
            "expected a new or empty folder, or one with earlier errors, got one with other files: choose another",
            code="errors_folder_occupied",
        )
    return folder


def write_worst_errors(errors: Sequence[WorstError], model: ImageOpener, table: Table, folder: str | Path) -> Path:
    """Write the images of errors as ``0001.png`` ... and ``errors.csv``, readable by their owner alone.

    Images are as the model saw them: its window, size and aspect ratio. Names are numbers, the table has no path or id;
    ``row_index`` is the row of the labelled table, from 0.

    Raises:
        InputError: The folder has other files (``errors_folder_occupied``), or an image can no longer be read.
    """
    target = check_errors_folder(folder)
    names: dict[int, str] = {}
    for error in errors:
        names.setdefault(error.row, f"{len(names) + 1:04d}.png")
    with replace_folder(target) as fresh:
        fresh.chmod(0o700)
        for row, name in names.items():
            image = model.open_image(table.samples[row].image_source())
            to_model_image(image, model.preprocessing).save(fresh / name)
        with (fresh / ERRORS_NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for error in errors:
                numbers = (f"{error.score:.6f}", f"{error.score_of_truth:.6f}")
                writer.writerow((names[error.row], error.method, error.row, error.truth, error.answer, *numbers))
    return target


def _wrong_answers(scores: MethodScores) -> Iterator[WorstError]:
    answers = scores.probabilities.argmax(axis=1)
    for index in np.flatnonzero(answers != scores.truth):
        truth, answer = int(scores.truth[index]), int(answers[index])
        yield WorstError(
            method=scores.method,
            row=int(scores.rows[index]),
            truth=scores.names[truth],
            answer=scores.names[answer],
            score=float(scores.probabilities[index, answer]),
            score_of_truth=float(scores.probabilities[index, truth]),
        )


def _ranked_errors(method: str, scores: LabelScores, threshold: float | None) -> list[tuple[float, WorstError]]:
    """Return the errors of one label with the share of images of the other kind that are ranked wrongly."""
    answers: Mapping[bool, str] = {True: scores.label, False: f"not {scores.label}"}
    negative, positive = np.sort(scores.scores[~scores.positives]), np.sort(scores.scores[scores.positives])
    ranked = []
    for row, score, truth in zip(scores.rows, scores.scores, scores.positives, strict=True):
        answer = None if threshold is None else bool(score >= threshold)
        if answer == bool(truth):
            continue
        if truth:
            wrong = 1 - np.searchsorted(negative, score, "right") / len(negative)
        else:
            wrong = np.searchsorted(positive, score, "left") / len(positive)
        error = WorstError(
            method=method,
            row=int(row),
            truth=answers[bool(truth)],
            answer="" if answer is None else answers[answer],
            score=float(score),
            score_of_truth=float(score),
        )
        ranked.append((float(wrong), error))
    return ranked
