"""``mi2 evaluate``: score a model on a table of labelled images."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.bundle import MODEL_CARD, Bundle, find
from medimageinsight.cli import output
from medimageinsight.cli.arguments import format_command
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import (
    AsJson,
    Model,
    PathColumn,
    Percentiles,
    Root,
    Window,
    choose_window,
    load_model,
)
from medimageinsight.cli.results import format_figure
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.reports import check_report_folder

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Table
    from medimageinsight.evaluate import AssessedModels, Assessment, PromptSet, Report, SourceFigures

DEFAULT_SENSITIVITY = 0.9

TableOrConfig = Annotated[
    Path,
    typer.Argument(metavar="TABLE|CONFIG", help="A .csv or .parquet file of labelled images, or a training config."),
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
    update_card: UpdateCard = False,
    run: RunFolder = None,
    path_column: PathColumn = None,
    root: Root = None,
    window: Window = None,
    percentiles: Percentiles = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled images: zero-shot classification and retrieval, with 95 % confidence intervals.

    With --out or --against also kNN, a linear probe, operating points, calibration and groups: methods are trained on
    the split 'train' and their settings chosen on 'val'. --out and --against need the extra 'evaluate', a Parquet table
    the extra 'parquet'. Prompts are the captions of the other splits, never those of scored images. A training config
    gives the data and splits of that training, in any format.
    """
    from medimageinsight.evaluate import write_assessment

    in_full = out is not None or against is not None
    _check_options(group, sensitivity, run, in_full=in_full, update_card=update_card)
    if update_card:
        _check_card(model, run)
    if out is not None:
        with error_context(out):
            check_report_folder(out)
    chosen = choose_window(window, percentiles)
    loaded = load_model(model, window=chosen)
    with error_context(table, (DatasetError, ConfigError)):
        rows, columns_file = _read(table, path_column, root)
        if not any(sample.label for sample in rows.of_split(split)):
            raise DatasetError(
                f"expected labels of the {split} split, got none: add a column 'label'", code="dataset_labels_missing"
            )
    prompt_set = _choose_prompts(rows, split, template, prompts)
    options = {
        "--split": split, "--model": model or os.environ.get("MI2_MODEL"), "--against": against, "--out": out,
        "--template": template, "--prompts": prompts, "--path-column": path_column, "--root": root, "--window": chosen,
        "--group": group, "--sensitivity": None if sensitivity == DEFAULT_SENSITIVITY else f"{sensitivity:g}",
    }  # fmt: skip
    command = format_command("evaluate", [table], options)
    if not in_full:
        report = _evaluate(loaded, rows, split, prompt_set, command)
        if update_card:
            _update_card(model, report, run)
        output.print_json(report.to_dict()) if as_json else _print_report(report)
        return
    with error_context(table, (DatasetError, ConfigError)):
        other = None if against is None else load_model(against, window=chosen)
        result = _assess(loaded, other, rows, columns_file, split, group, sensitivity, prompt_set, command)
    if out is not None:
        with error_context(out):
            write_assessment(result.assessment, out, comparison=result.comparison, other=result.other)
    if update_card:
        _update_card(model, result.assessment, run)
    output.print_json(result.to_dict()) if as_json else _print_assessed(result)


def _check_options(
    group: list[str] | None, sensitivity: float, run: Path | None, *, in_full: bool, update_card: bool
) -> None:
    """Refuse options that would be ignored."""
    if run is not None and not update_card:
        raise InputError("expected --update-card with --run, got none: add it", code="run_unused")
    if not in_full and (group or sensitivity != DEFAULT_SENSITIVITY):
        raise InputError(
            "expected --group and --sensitivity with --out or --against, got neither: add one", code="option_unused"
        )


def _read(source: Path, path_column: str | None, root: Path | None) -> "tuple[Table, Path | None]":
    """Read all splits; also return the file with the same rows, if there is one, for its columns of groups."""
    from medimageinsight.datasets import read_table

    if source.suffix.lower() not in (".yaml", ".yml"):
        columns = {} if path_column is None else {"path": path_column}
        return read_table(source, root=root, columns=columns), source
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


def _choose_prompts(rows: "Table", split: str, template: str | None, file: Path | None) -> "PromptSet":
    from medimageinsight.evaluate import choose_prompts
    from medimageinsight.tagging import read_prompts

    with error_context(file):
        prompts = None if file is None else {name: tag.positive for name, tag in read_prompts(file).items()}
        return choose_prompts(rows, split, template=template, prompts=prompts)


def _evaluate(loaded: "MedImageInsight", rows: "Table", split: str, prompts: "PromptSet", command: str) -> "Report":
    from medimageinsight.evaluate import EvaluationSettings
    from medimageinsight.evaluate import evaluate as evaluate_model

    with output.counting("embedding", rows.splits[split]) as progress:
        return evaluate_model(
            loaded,
            rows,
            settings=EvaluationSettings(split=split),
            prompts=prompts,
            name=loaded.name,
            command=command,
            progress=progress,
        )


def _assess(
    loaded: "MedImageInsight",
    against: "MedImageInsight | None",
    rows: "Table",
    columns_file: Path | None,
    split: str,
    group: list[str] | None,
    sensitivity: float,
    prompts: "PromptSet",
    command: str,
) -> "AssessedModels":
    from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess_models, read_groups

    settings = AssessmentSettings(
        evaluation=EvaluationSettings(split=split), criteria=("youden", f"sensitivity:{sensitivity:g}")
    )
    if columns_file is None and group:
        raise ConfigError(
            "expected a table with columns to group by, got a config: name the table", code="group_column_unknown"
        )
    if columns_file is None:
        output.note("no groups: they are read only from a table whose rows are all used")
    groups = {} if columns_file is None else read_groups(columns_file, len(rows), group or ())
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


def _check_card(model: str | None, run: Path | None) -> None:
    """Refuse a card or a run that cannot be used, before a long evaluation."""
    if run is not None:
        from medimageinsight.export import read_run_record

        with error_context(run, ConfigError):
            read_run_record(run)
    elif not (card := find(model) / MODEL_CARD).is_file():
        with error_context(card):
            raise InputError("expected a model card, found no such file: check the path", code="model_card_not_found")


def _update_card(model: str | None, result: "Report | Assessment", run: Path | None) -> None:
    """Copy the figures between the card's marks; with a run, write the whole card."""
    from medimageinsight.evaluate import card_section, update_model_card

    folder = find(model)
    card = folder / MODEL_CARD
    if run is None:
        with error_context(card):
            update_model_card(card, result)
        return
    from medimageinsight.export import compose_model_card, read_parity, read_run_record
    from medimageinsight.files.atomic import write_text

    manifest = Bundle.open(folder).manifest
    with error_context(run, ConfigError):
        record = read_run_record(run)
    parity, _ = read_parity(folder, manifest.embedding_dim)
    write_text(card, compose_model_card(manifest, parity, run=record, evaluation=card_section(result)))


def _print_report(report: "Report") -> None:
    k = report.settings.neighbours
    overall = [
        ("modality of the best prompt", report.modality_accuracy),
        ("modality and anatomy of the best prompt", report.anatomy_accuracy),
        (f"mean AUC of findings (sources: {len(report.finding_sources)})", report.mean_auc),
        (f"image to image, precision at {k}", report.precision_at_k),
        *((f"image to text, recall at {at}", figure) for at, figure in report.image_to_text.items()),
        *((f"text to image, recall at {at}", figure) for at, figure in report.text_to_image.items()),
    ]
    output.print_table(
        ("figure", "value", "95 % interval"),
        [(name, *format_figure(figure)) for name, figure in overall],
        title=f"{report.model} on {report.images:,} images, {report.patients_phrase}",
    )
    output.print_table(
        ("source", "images", "mean AUC", "95 % interval", f"precision at {k}", "95 % interval"),
        [
            (
                output.printable(name),
                f"{source.images:,}",
                *_format_mean_auc(source),
                *format_figure(source.precision_at_k),
            )
            for name, source in report.sources.items()
        ],
        title=f"by source, {report.patients_phrase}",
    )
    output.note(f"prompts: {report.prompt_source}")
    for warning in report.warnings:
        output.note(f"warning: {warning}")


def _format_mean_auc(source: "SourceFigures") -> tuple[str, str]:
    if source.findings is None:
        return format_figure(None)
    return format_figure(source.findings.mean_auc, absent="too few" if source.findings.too_few else "–")


def _print_assessed(result: "AssessedModels") -> None:
    from medimageinsight.evaluate import methods_table

    assessment = result.assessment
    _print_report(assessment.report)
    table = methods_table(assessment)
    columns = tuple(column[0].lower() + column[1:] for column in table.columns)
    output.print_table(columns, table.rows, title=f"{table.caption}, {assessment.report.patients_phrase}")
    gaps = [
        (
            output.printable(grouping.column),
            grouping.method,
            grouping.measure,
            str(len(grouping.groups)),
            str(grouping.gap),
        )
        for grouping in assessment.groups
        if grouping.gap is not None
    ]
    if gaps:
        output.print_table(("by", "method", "measure", "groups", "gap"), gaps)
    for note in assessment.notes:
        output.note(note)
    if result.comparison is not None:
        output.print_table(
            ("measure", result.comparison.model, result.comparison.against, "difference", "p", "adjusted p"),
            [
                (
                    row.measure,
                    str(row.model),
                    str(row.against),
                    str(row.difference),
                    f"{row.p:.3f}",
                    f"{row.p_family:.3f}",
                )
                for row in result.comparison.differences
                if row.source is None
            ],
            title="Means over sources",
        )
