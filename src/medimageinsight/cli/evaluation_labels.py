"""``mi2 evaluate`` of images with several labels, and of the worst errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.evaluation_inputs import choose_groups
from medimageinsight.cli.evaluation_tables import print_rate_gaps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.evaluation_inputs import LabelOptions
    from medimageinsight.datasets import Table
    from medimageinsight.evaluate import AssessmentSettings, LabelPrompts, MultilabelAssessment, WorstError


def evaluate_labels(
    model: MedImageInsight,
    rows: Table,
    columns_file: Path | None,
    options: LabelOptions,
    *,
    settings: AssessmentSettings,
    group: list[str] | None,
    template: str | None,
    prompts_file: Path | None,
    command: str,
    out: Path | None,
    worst: int | None,
    errors_folder: Path | None,
    as_json: bool,
) -> None:
    """Score each label of the rows, and write and print the figures."""
    from medimageinsight.evaluate import evaluate_multilabel, find_worst_label_errors, write_multilabel

    labels = options.read(rows, columns_file)
    prompts = _choose_prompts(rows, labels.names, template, prompts_file)
    in_full = out is not None or worst is not None
    groups = choose_groups(columns_file, len(rows), group) if in_full else {}
    split = settings.evaluation.split
    count = len(rows if in_full or split is None else rows.of_split(split))
    with output.counting("embedding", count) as progress:
        found = evaluate_multilabel(
            model,
            rows,
            labels,
            prompts,
            settings=settings,
            groups=groups,
            trained=in_full,
            name=model.name,
            command=command,
            progress=progress,
        )
    if out is not None:
        with error_context(out):
            write_multilabel(found, out)
    if worst is not None:
        write_errors(find_worst_label_errors(found, worst), model, rows, errors_folder)
    output.print_json(found.to_dict()) if as_json else print_multilabel(found)


def write_errors(errors: Sequence[WorstError], model: MedImageInsight, rows: Table, folder: Path | None) -> None:
    """Write the images of errors to the folder, with a note."""
    from medimageinsight.evaluate import write_worst_errors

    if folder is None:
        return
    with error_context(folder):
        write_worst_errors(errors, model, rows, folder)
    images = len({error.row for error in errors})
    output.note(f"{images:,} images of patients written to {folder}: for your eyes, not for a report")


def print_multilabel(found: MultilabelAssessment) -> None:
    """Print the macro means, the counts and figures of each label, gaps between groups, prompts and notes."""
    from medimageinsight.evaluate import label_rows, multilabel_methods_table

    table = multilabel_methods_table(found)
    title = f"{found.model} on {found.images:,} images, {found.patients_phrase}"
    output.print_table(tuple(column.lower().replace("auc", "AUC") for column in table.columns), table.rows, title=title)
    rows = [tuple(output.printable(cell) for cell in row) for row in label_rows(found)]
    columns = ("label", "positives", "negatives", "ignored", "method", "AUC", "average precision")
    output.print_table(columns, rows, title=f"each label against the images without it, {found.patients_phrase}")
    print_rate_gaps(found.rate_gaps)
    output.note(f"prompts: {found.prompt_source}; score: {found.score}")
    for note in found.notes:
        output.note(note)


def _choose_prompts(rows: Table, names: Sequence[str], template: str | None, file: Path | None) -> LabelPrompts:
    from medimageinsight.evaluate import choose_label_prompts
    from medimageinsight.tagging import read_prompts

    with error_context(file):
        prompts = None if file is None else read_prompts(file)
        return choose_label_prompts(rows, names, template=template, prompts=prompts)
