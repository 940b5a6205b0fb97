"""The tables of a run's history (``curve.csv``, ``speed.csv``) and their plot."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from medimageinsight.train.run_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CURVE_COLUMNS = (
    "step",
    "image_size",
    "learning_rate",
    "loss",
    "val_modality_accuracy",
    "val_anatomy_accuracy",
    "val_mean_auc",
    "val_caption_auc",
    "val_label_accuracy",
    "val_label_auc",
)
SPEED_COLUMNS = ("step", "loss", "images_per_second", "mfu", "waited_for_data")
_PLOTTED = {
    "val_mean_auc": "mean AUC of the findings",
    "val_modality_accuracy": "modality accuracy",
    "val_caption_auc": "mean AUC of the captions",
    "val_label_auc": "mean AUC of the labels",
    "val_label_accuracy": "label accuracy",
}


def read_history(path: Path, *, until: int) -> list[dict[str, str]]:
    """Read the rows up to a step; later rows, written after the state that is resumed from, are dropped."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) <= until]


def write_history(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Replace the table by these rows."""
    with replace_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def plot_history(path: Path, curve: Sequence[dict[str, str]], speed: Sequence[dict[str, str]]) -> None:
    """Plot loss, validation scores and speed over the steps as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [int(row["step"]) for row in curve]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    left.plot(steps, [float(row["loss"]) for row in curve])
    left.set(xlabel="step", ylabel="training loss (mean since the previous point)")
    for column, label in _PLOTTED.items():
        if points := [(int(row["step"]), float(row[column])) for row in curve if row.get(column)]:
            middle.plot([step for step, _ in points], [value for _, value in points], label=label)
    middle.set(xlabel="step", ylabel="validation", ylim=(0, 1.0))
    middle.legend(loc="lower right")
    for column, label in (("mfu", "model FLOP utilisation"), ("waited_for_data", "fraction of time waiting for data")):
        right.plot([int(row["step"]) for row in speed], [float(row[column]) for row in speed], label=label)
    right.set(xlabel="step", ylabel="fraction", ylim=(0, 1.0))
    right.legend(loc="upper right")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    with replace_file(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
