"""``mi2 evaluate``: how good a model is on a table of labelled images."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from medimageinsight.bundle import MODEL_CARD, Bundle, find
from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, load_model
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.reports.folder import check_report_folder

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Table
    from medimageinsight.evaluate import Assessment, Comparison, Figure, Report

DEFAULT_SENSITIVITY = 0.9


def evaluate(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE|CONFIG", help="A .csv or .parquet file with one row an image, or the YAML of a training."
        ),
    ],
    split: Annotated[str, typer.Option(help="The split to score.")] = "test",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Evaluate in full and write the report and its plots there.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="Compare with this model by a paired test.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Figures by this column too. Default: age, sex, site, device if there."),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="The least one of the second operating point.")
    ] = DEFAULT_SENSITIVITY,
    update_card: Annotated[
        bool, typer.Option("--update-card", help="Copy the figures into the bundle's model card.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --update-card: write the card anew from this run's record.")
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Score a model: zero-shot, findings and retrieval, each with a 95 % confidence interval.

    With --out or --against also kNN, a linear probe, operating points, calibration and groups: what is learnt is
    learnt on the split 'train', what is chosen is chosen on 'val'. --out, --against need the extra 'evaluate', a
    Parquet table the extra 'parquet'. The YAML of a training stands for its data, in every format, split as there.
    """
    from medimageinsight.evaluate import EvaluationSettings, write_assessment
    from medimageinsight.evaluate import evaluate as evaluate_model
    from medimageinsight.evaluate.folder import to_dict

    if run is not None and not update_card:
        raise InputError("expected --run with --update-card: add it", code="run_unused")
    if out is None and against is None and (group or sensitivity != DEFAULT_SENSITIVITY):
        raise InputError("expected --group and --sensitivity with --out or --against: add one", code="option_unused")
    if update_card:
        _check_card(model, run)
    if out is not None:
        with error_context(out):
            check_report_folder(out)
    loaded = load_model(model)
    with error_context(table, (DatasetError, ConfigError)):
        rows, columns = _read(table)
        count = len(rows.of_split(split))
    command = _command(table, split, model, against, out, group, sensitivity)
    if out is None and against is None:
        with output.counting("embedding", count) as progress:
            report = evaluate_model(
                loaded,
                rows,
                settings=EvaluationSettings(split=split),
                name=loaded.name,
                command=command,
                progress=progress,
            )
        _update_card(model, report, run, update=update_card)
        if as_json:
            output.print_json(report.to_dict())
        else:
            _print(report)
        return
    with error_context(table, (DatasetError, ConfigError)):
        found = _assess(columns, rows, loaded, against, command, split, group, sensitivity)
    if out is not None:
        with error_context(out):
            write_assessment(found.assessment, out, comparison=found.comparison, other=found.other)
    _update_card(model, found.assessment, run, update=update_card)
    if as_json:
        output.print_json(to_dict(found.assessment, found.comparison, found.other))
        return
    _print(found.assessment.report)
    _print_assessment(found.assessment)
    if found.comparison is not None:
        _print_comparison(found.comparison)


def _read(source: Path) -> "tuple[Table, Path | None]":
    """All splits, and the file whose columns say groups, row by row, if there is one."""
    from medimageinsight.datasets import read_table

    if source.suffix.lower() not in (".yaml", ".yml"):
        return read_table(source), source
    from medimageinsight.train.config_file import read_any
    from medimageinsight.train.samples import read_samples

    config = read_any(source)
    rows = read_samples(config.data, source.parent, check=False, log=output.note)
    whole = config.data.table is not None and not config.data.leave_out
    return rows, source.parent / config.data.table if whole and config.data.table else None


class _Found(NamedTuple):
    assessment: "Assessment"
    other: "Assessment | None"
    comparison: "Comparison | None"


def _assess(
    columns: Path | None,
    rows: "Table",
    loaded: "MedImageInsight",
    against: str | None,
    command: str,
    split: str,
    group: list[str] | None,
    sensitivity: float,
) -> _Found:
    """One model in full, or two with their comparison."""
    from medimageinsight.evaluate import (
        AssessmentSettings,
        EvaluationSettings,
        assess,
        compare,
        embed_table,
        read_groups,
    )

    settings = AssessmentSettings(
        evaluation=EvaluationSettings(split=split), criteria=("youden", f"sensitivity:{sensitivity:g}")
    )
    if columns is None and group:
        raise ConfigError("expected a table whose columns say the groups: name it", code="group_column_unknown")
    if columns is None:
        output.note("no groups: they are read from a table, all of whose rows are scored")
    groups = {} if columns is None else read_groups(columns, len(rows), group or ())
    second = None if against is None else load_model(against)
    names = [loaded.name] if second is None else _told_apart(loaded.name, second.name)
    embedded, assessed = [], []
    for one, name in zip([loaded, *([] if second is None else [second])], names, strict=True):
        with output.counting(f"embedding with {name}", len(rows)) as progress:
            embedded.append(embed_table(one, rows, progress=progress))
        assessed.append(assess(embedded[-1], settings=settings, groups=groups, name=name, command=command))
    if second is None:
        return _Found(assessed[0], None, None)
    return _Found(assessed[0], assessed[1], compare(embedded[0], assessed[0], embedded[1], assessed[1]))


def _told_apart(first: str, second: str) -> list[str]:
    """Two bundles may have one name."""
    return [first, second] if first != second else [f"{first} (model)", f"{second} (against)"]


def _check_card(model: str | None, run: Path | None) -> None:
    """What an update of the card needs, before a long run."""
    if run is not None:
        from medimageinsight.export.run_record import read_run_record

        with error_context(run, ConfigError):
            read_run_record(run)
    elif not (card := find(model) / MODEL_CARD).is_file():
        with error_context(card):
            raise InputError("expected a model card, found no such file: check the path", code="model_card_not_found")


def _update_card(model: str | None, found: "Report | Assessment", run: Path | None, *, update: bool) -> None:
    """Copy the figures between the card's marks; with a run, compose the whole card."""
    from medimageinsight.evaluate import update_model_card

    if not update:
        return
    folder = find(model)
    card = folder / MODEL_CARD
    if run is not None:
        from medimageinsight.files.atomic import write_text
        from medimageinsight.evaluate import card_section
        from medimageinsight.export.model_card import compose_model_card
        from medimageinsight.export.parity import read_parity
        from medimageinsight.export.run_record import read_run_record

        manifest = Bundle.open(folder).manifest
        with error_context(run, ConfigError):
            record = read_run_record(run)
        parity, _ = read_parity(folder, manifest.embedding_dim)
        write_text(card, compose_model_card(manifest, parity, run=record, evaluation=card_section(found)))
        return
    with error_context(card):
        update_model_card(card, found)


def _command(
    table: Path,
    split: str,
    model: str | None,
    against: str | None,
    out: Path | None,
    group: list[str] | None,
    sensitivity: float,
) -> str:
    """What repeats the figures, whatever the environment says."""
    model = model or os.environ.get("MI2_MODEL")
    words = ["mi2", "evaluate", str(table), "--split", split]
    words += [] if model is None else ["--model", model]
    words += [] if against is None else ["--against", against]
    words += [] if out is None else ["--out", str(out)]
    words += [word for column in group or () for word in ("--group", column)]
    words += [] if sensitivity == DEFAULT_SENSITIVITY else ["--sensitivity", f"{sensitivity:g}"]
    return shlex.join(words)


def _print(report: "Report") -> None:
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
        [(name, *_cells(figure)) for name, figure in overall],
        title=f"{report.model} on {report.images:,} images",
    )
    output.print_table(
        ("source", "images", "mean AUC", "95 % interval", f"precision at {k}", "95 % interval"),
        [
            (
                output.printable(name),
                f"{one.images:,}",
                *_cells(one.findings.mean_auc if one.findings else None),
                *_cells(one.precision_at_k),
            )
            for name, one in report.sources.items()
        ],
    )


def _print_assessment(assessment: "Assessment") -> None:
    from medimageinsight.evaluate.sections import methods_table

    found = methods_table(assessment)
    output.print_table(
        tuple(column[0].lower() + column[1:] for column in found.columns), found.rows, title=found.caption
    )
    gaps = [
        (output.printable(one.column), one.method, one.measure, str(len(one.groups)), str(one.gap))
        for one in assessment.groups
        if one.gap is not None
    ]
    if gaps:
        output.print_table(("by", "method", "measure", "groups", "gap"), gaps)
    for note in assessment.notes:
        output.note(note)


def _print_comparison(comparison: "Comparison") -> None:
    output.print_table(
        ("measure", comparison.model, comparison.against, "difference", "p"),
        [
            (one.measure, str(one.model), str(one.against), str(one.difference), f"{one.p:.3f}")
            for one in comparison.differences
            if one.source is None
        ],
        title="Means over sources",
    )


def _cells(figure: "Figure | None") -> tuple[str, str]:
    """Value and interval; dashes where the table does not allow the figure."""
    return ("–", "") if figure is None else (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
