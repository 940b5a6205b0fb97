"""``mi2 evaluate``: score a model on a table of labelled images."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import format_command
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.evaluation_card import check_card, update_card_of
from medimageinsight.cli.evaluation_inputs import (
    LabelOptions,
    check_labels,
    choose_errors_folder,
    choose_groups,
    choose_split,
)
from medimageinsight.cli.evaluation_labels import evaluate_labels, write_errors
from medimageinsight.cli.evaluation_tables import print_assessed, print_report
from medimageinsight.cli.labelled_tables import read_arrays, refuse_label_names
from medimageinsight.cli.options import (
    AsJson,
    LabelNames,
    Model,
    PathColumn,
    Percentiles,
    Root,
    Window,
    choose_window,
    load_model,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.reports import check_report_folder

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Table
    from medimageinsight.evaluate import AssessedModels, AssessmentSettings, PromptSet, Report

DEFAULT_SENSITIVITY = 0.9

TableOrConfig = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE|CONFIG",
        help="A .csv or .parquet table of labelled images, a MedMNIST file, or a training config.",
    ),
]
Split = Annotated[str, typer.Option(help="The split of the table to score.")]
ReportFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Evaluate in full, and write a report with plots to this folder.")
]
Against = Annotated[str | None, typer.Option(metavar="NAME|DIR", help="Evaluate in full, and compare with this model.")]
GroupColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Also score groups by this column; repeatable. Default: age, sex, site, device."
    ),
]
Sensitivity = Annotated[
    float, typer.Option(min=0.01, max=1.0, help="The minimum sensitivity of the second operating point.")
]
Template = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Prompts from labels instead of captions, such as 'x-ray chest {}'; also {modality}, {anatomy}, {view}, "
        "{finding}, {source}.",
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="FILE", help='Prompts instead of captions, JSON: {"label": ["prompt", ...]}.'),
]
LabelColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN...",
        help="Several labels an image: columns of 1, 0, empty and uncertain cells; 'auto' finds them. With "
        "--label-separator the column with all labels.",
    ),
]
LabelSeparator = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Several labels an image: text between the labels of a cell, such as '|'."),
]
Uncertain = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Cells to ignore for a label; repeatable. Default: -1, u, uncertain, ?."),
]
Worst = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Evaluate in full, and write the N worst errors of each method as images."),
]
WorstOut = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder for --worst. Default: that of --out with _worst after its name."),
]
UpdateCard = Annotated[bool, typer.Option("--update-card", help="Copy the scores into the bundle's model card.")]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="With --update-card: rewrite the whole card from the record of this training run."
    ),
]


def evaluate(
    table: TableOrConfig,
    split: Split = "test",
    out: ReportFolder = None,
    against: Against = None,
    group: GroupColumns = None,
    sensitivity: Sensitivity = DEFAULT_SENSITIVITY,
    template: Template = None,
    prompts: PromptsFile = None,
    label_columns: LabelColumns = None,
    label_separator: LabelSeparator = None,
    uncertain: Uncertain = None,
    worst: Worst = None,
    worst_out: WorstOut = None,
    update_card: UpdateCard = False,
    run: RunFolder = None,
    path_column: PathColumn = None,
    root: Root = None,
    label_names: LabelNames = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    window: Window = None,
    percentiles: Percentiles = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled images: zero-shot classification and retrieval, with 95 % confidence intervals.

    With --out, --against or --worst also kNN, a linear probe, operating points, calibration and groups: methods are
    trained on the split 'train' and their settings chosen on 'val'. They need the extra 'evaluate', a Parquet table the
    extra 'parquet'. Prompts are the captions of the other splits, never those of scored images; with --template or
    --prompts the table needs no captions. A table without splits is scored as a whole. A training config gives the data
    and splits of that training, in any format.

    With --label-columns or --label-separator an image may have several labels: each is scored against the images
    without it, and uncertain ones are ignored.
    """
    from medimageinsight.cli.reading_model import reading_model
    from medimageinsight.evaluate import write_assessment

    in_full = out is not None or against is not None or worst is not None
    _check_options(group, sensitivity, run, in_full=in_full, update_card=update_card)
    label_options = LabelOptions.of(label_columns, label_separator, uncertain)
    errors_folder = choose_errors_folder(worst, worst_out, out)
    if update_card:
        check_card(model, run)
    if out is not None:
        with error_context(out):
            check_report_folder(out)
    chosen = choose_window(window, percentiles)
    reading.check_comparable()
    loaded = reading_model(load_model(model, window=chosen), reading)
    with error_context(table, (DatasetError, ConfigError)):
        needs_captions = template is None and prompts is None and label_options is None
        rows, columns_file = _read(
            table, path_column, root, label_names, needs_names=prompts is None, needs_captions=needs_captions
        )
        scored = choose_split(rows, split)
    options = {
        "--split": split, "--model": model or os.environ.get("MI2_MODEL"), "--against": against, "--out": out,
        "--template": template, "--prompts": prompts, "--path-column": path_column, "--root": root, "--window": chosen,
        **reading.to_options(),
        "--label-names": label_names,
        "--label-columns": label_columns, "--label-separator": label_separator, "--uncertain": uncertain,
        "--worst": worst, "--worst-out": worst_out,
        "--group": group, "--sensitivity": None if sensitivity == DEFAULT_SENSITIVITY else f"{sensitivity:g}",
    }  # fmt: skip
    command = format_command("evaluate", [table], options)
    if label_options is not None or rows.separator:
        _refuse_single_label_options(against, update_card=update_card)
        with error_context(table, (DatasetError, ConfigError)):
            evaluate_labels(
                loaded,
                rows,
                columns_file,
                label_options or LabelOptions(separator=rows.separator),
                settings=_settings(scored, sensitivity),
                group=group,
                template=template,
                prompts_file=prompts,
                command=command,
                out=out,
                worst=worst,
                errors_folder=errors_folder,
                as_json=as_json,
            )
        return
    with error_context(table, DatasetError):
        check_labels(rows, scored)
    prompt_set = _choose_prompts(rows, scored, template, prompts)
    if not in_full:
        report = _evaluate(loaded, rows, scored, prompt_set, command)
        if update_card:
            update_card_of(model, report, run)
        output.print_json(report.to_dict()) if as_json else print_report(report)
        return
    with error_context(table, (DatasetError, ConfigError)):
        other = None if against is None else reading_model(load_model(against, window=chosen), reading)
        settings = _settings(scored, sensitivity)
        result = _assess(loaded, other, rows, columns_file, group, settings, prompt_set, command)
    if out is not None:
        with error_context(out):
            write_assessment(result.assessment, out, comparison=result.comparison, other=result.other)
    if worst is not None:
        from medimageinsight.evaluate import find_worst_errors

        write_errors(find_worst_errors(result.assessment, worst), loaded, rows, errors_folder)
    if update_card:
        update_card_of(model, result.assessment, run)
    output.print_json(result.to_dict()) if as_json else print_assessed(result)


def _check_options(
    group: list[str] | None, sensitivity: float, run: Path | None, *, in_full: bool, update_card: bool
) -> None:
    """Refuse options that would be ignored."""
    if run is not None and not update_card:
        raise InputError("expected --update-card with --run, got none: add it", code="run_unused")
    if not in_full and (group or sensitivity != DEFAULT_SENSITIVITY):
        raise InputError(
            "expected --group and --sensitivity with --out or --against or --worst, got none of them: add one",
            code="option_unused",
        )


def _refuse_single_label_options(against: str | None, *, update_card: bool) -> None:
    if against is not None or update_card:
        raise InputError(
            "expected no --against and no --update-card with several labels an image, got one of them: leave it out",
            code="option_unused",
        )


def _read(
    source: Path,
    path_column: str | None,
    root: Path | None,
    label_names: str | None,
    *,
    needs_names: bool,
    needs_captions: bool,
) -> "tuple[Table, Path | None]":
    """Read all splits; also return the file with the same rows, if there is one, for its columns of groups."""
    from medimageinsight.datasets import is_medmnist, read_table

    if is_medmnist(source):
        return read_arrays(source, label_names, path_column=path_column, root=root, needs_names=needs_names), None
    refuse_label_names(label_names)
    if source.suffix.lower() not in (".yaml", ".yml"):
        columns = {} if path_column is None else {"path": path_column}
        try:
            return read_table(
                source, root=root, columns=columns, required=("caption",) if needs_captions else ()
            ), source
        except DatasetError as error:
            if needs_captions and "caption" in error.message:
                hint = f"{error.message}; or give prompts with --template or --prompts"
                raise DatasetError(hint, code=error.code) from None
            raise
    if path_column is not None or root is not None:
        raise ConfigError(
            "expected no --path-column and --root with a training config, which describes its data: leave them out",
            code="option_unused",
        )
    from medimageinsight.train import read_config, read_samples

    data = read_config(source).data
    rows = read_samples(data, source.parent, check=False, log=output.note)
    has_all_rows = data.table is not None and not data.leave_out
    return rows, source.parent / data.table if data.table and has_all_rows else None


def _choose_prompts(rows: "Table", split: str | None, template: str | None, file: Path | None) -> "PromptSet":
    from medimageinsight.evaluate import choose_prompts
    from medimageinsight.tagging import read_prompts

    with error_context(file):
        prompts = None if file is None else {name: tag.positive for name, tag in read_prompts(file).items()}
        return choose_prompts(rows, split, template=template, prompts=prompts)


def _evaluate(
    loaded: "MedImageInsight", rows: "Table", split: str | None, prompts: "PromptSet", command: str
) -> "Report":
    from medimageinsight.evaluate import EvaluationSettings
    from medimageinsight.evaluate import evaluate as evaluate_model

    with output.counting("embedding", len(rows if split is None else rows.of_split(split))) as progress:
        return evaluate_model(
            loaded,
            rows,
            settings=EvaluationSettings(split=split),
            prompts=prompts,
            name=loaded.name,
            command=command,
            progress=progress,
        )


def _settings(split: str | None, sensitivity: float) -> "AssessmentSettings":
    from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings

    criteria = ("youden", f"sensitivity:{sensitivity:g}")
    return AssessmentSettings(evaluation=EvaluationSettings(split=split), criteria=criteria)


def _assess(
    loaded: "MedImageInsight",
    against: "MedImageInsight | None",
    rows: "Table",
    columns_file: Path | None,
    group: list[str] | None,
    settings: "AssessmentSettings",
    prompts: "PromptSet",
    command: str,
) -> "AssessedModels":
    from medimageinsight.evaluate import assess_models

    groups = choose_groups(columns_file, len(rows), group)
    return assess_models(
        loaded,
        rows,
        against=against,
        settings=settings,
        groups=groups,
        prompts=prompts,
        command=command,
        progress=lambda name: output.counting(f"embedding with {name}", len(rows)),
    )
