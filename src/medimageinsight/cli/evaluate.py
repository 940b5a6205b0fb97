"""``mi2 evaluate``: how good a model is on a table of labelled images."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.bundle import MODEL_CARD, find
from medimageinsight.cli import output
from medimageinsight.cli.failures import about
from medimageinsight.cli.options import AsJson, Model, load_model
from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from medimageinsight.evaluate import Figure, Report


def evaluate(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet file with one row an image.")],
    split: Annotated[str, typer.Option(help="The split to score.")] = "test",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report and its plots there.")] = None,
    update_card: Annotated[
        bool, typer.Option("--update-card", help="Copy the figures into the bundle's model card.")
    ] = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Score a model: zero-shot, findings and retrieval, each with a 95 % confidence interval.

    --out needs the extra 'evaluate', a Parquet table the extra 'parquet'.
    """
    from medimageinsight.datasets import read_table
    from medimageinsight.evaluate import EvaluationSettings, update_model_card, write_report
    from medimageinsight.evaluate import evaluate as evaluate_model

    loaded = load_model(model)
    with about(table, DatasetError):
        rows = read_table(table)
        count = len(rows.of_split(split))
    with output.counting("embedding", count) as progress:
        report = evaluate_model(
            loaded,
            rows,
            settings=EvaluationSettings(split=split),
            name=loaded.name,
            command=_command(table, split, model),
            progress=progress,
        )
    if out is not None:
        with about(out):
            write_report(report, out)
    if update_card:
        card = find(model) / MODEL_CARD
        with about(card):
            update_model_card(card, report)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print(report)


def _command(table: Path, split: str, model: str | None) -> str:
    """What repeats the figures."""
    named = [] if model is None else ["--model", model]
    return shlex.join(["mi2", "evaluate", str(table), "--split", split, *named])


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


def _cells(figure: "Figure | None") -> tuple[str, str]:
    """Value and interval; dashes where the table does not allow the figure."""
    return ("–", "") if figure is None else (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
