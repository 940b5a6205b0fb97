"""The run's history: a table on disk and a picture of it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = (
    "step",
    "image_size",
    "learning_rate",
    "loss",
    "val_modality_accuracy",
    "val_anatomy_accuracy",
    "val_mean_auc",
)


def read_curve(path: Path, *, until: int) -> list[dict[str, str]]:
    """The rows up to a step; rows written after the state that is resumed from are dropped."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) <= until]


def write_curve(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """The whole table, replaced in one move."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def draw_curve(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Loss and validation figures over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [int(row["step"]) for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(steps, [float(row["loss"]) for row in rows])
    left.set(xlabel="step", ylabel="training loss (mean since the last point)")
    for column, label in (("val_mean_auc", "mean AUC of the findings"), ("val_modality_accuracy", "modality accuracy")):
        right.plot(steps, [float(row[column]) for row in rows], label=label)
    right.set(xlabel="step", ylabel="validation", ylim=(0.5, 1.0))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
