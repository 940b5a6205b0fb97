"""``mi2 adapter``: a small head for your own labels, trained in seconds and stored in one file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.labelled_tables import (
    check_output_file,
    embed_samples,
    format_figure,
    print_failed_sources,
    read_samples,
    training_preprocessing,
)
from medimageinsight.cli.options import (
    AsJson,
    Frame,
    LabelColumn,
    LabelledTable,
    Model,
    Preprocessing,
    Separator,
    SourceName,
    Top,
    load_model,
)
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tables import print_probabilities
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.adapters import Adapter, AdapterFigures

app = typer.Typer(
    help="Train a small head for your own labels, and use it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AdapterFile = Annotated[Path, typer.Argument(metavar="ADAPTER", help="A file of `mi2 adapter train`.")]


def train(
    table: LabelledTable,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of the adapter.")],
    label_column: LabelColumn = "label",
    separator: Separator = None,
    source: SourceName = None,
    kind: Annotated[str, typer.Option(metavar="linear|mlp", help="The head.")] = "linear",
    balanced: Annotated[bool, typer.Option("--balanced", help="Rare labels weigh as much as common ones.")] = False,
    fraction: Annotated[
        float, typer.Option(help="Fraction of patients for validation, where the table has no split 'val'.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of that split and of the mlp's initial weights.")] = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Train a head on the embeddings of a table's images.

    The splits 'train', 'val' and 'test' are used where the table has them: 'val' stops and calibrates, 'test' scores. A
    table without splits is split by patient. A linear head needs the extra 'evaluate'.
    """
    from medimageinsight.adapters import AdapterSettings, save_adapter, split_embeddings, train_adapter

    settings = AdapterSettings(kind=kind, balanced=balanced, seed=seed)  # type: ignore[arg-type]  # checked there
    check_output_file(out)
    with error_context(table, DatasetError):
        samples = read_samples(table, label_column, source, separator)
    loaded = load_model(model, preprocessing)
    with error_context(table, (DatasetError, InputError)):
        data = embed_samples(loaded, samples, separator)
        training, validation, test = split_embeddings(data, samples, fraction=fraction, seed=seed)
        adapter = train_adapter(training, validation, model=loaded.identity, settings=settings)
        if test is not None:
            adapter = adapter.with_figures(adapter.score(test))
    with error_context(out):
        save_adapter(adapter, out)
    _print_adapter(adapter, as_json=as_json)
    output.note(f"adapter: {out}")


def predict(
    adapter: AdapterFile,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Images; folders are searched; - is standard input.")
    ],
    top: Top = 5,
    frame: Frame = 0,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Predict the labels of images, with calibrated probabilities. Images are prepared as in training."""
    from medimageinsight.adapters import load_adapter

    sources = list_sources(files)
    with error_context(adapter):
        head = load_adapter(adapter)
    loaded = load_model(model, training_preprocessing(head.model))
    with error_context(adapter):
        head.model.check(loaded.identity)
    with output.counting("predicting", len(sources)) as progress:
        embedded = loaded.embed_images(map(open_source, sources), errors="return", frame=frame, progress=progress)
    results = [
        (source, result if isinstance(result, InputError) else head.predict(result))
        for source, result in zip(sources, embedded, strict=True)
    ]
    failed = print_failed_sources(results)
    print_probabilities(results, head.labels, top=top, as_json=as_json)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def info(adapter: AdapterFile, as_json: AsJson = False) -> None:
    """Show an adapter's labels and figures, and the model that it belongs to."""
    from medimageinsight.adapters import load_adapter

    with error_context(adapter):
        head = load_adapter(adapter)
    _print_adapter(head, as_json=as_json)


for verb in (train, predict, info):
    app.command()(reported(verb))


def _print_adapter(adapter: "Adapter", *, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                "kind": adapter.kind,
                "outputs": adapter.outputs,
                "labels": list(adapter.labels),
                "temperature": adapter.temperature,
                "model": asdict(adapter.model),
                "training": adapter.training,
                "figures": [asdict(figures) for figures in adapter.figures],
            }
        )
        return
    relation = "exclude each other" if adapter.outputs == "softmax" else "may occur together"
    output.print_table(
        ("adapter", ""),
        [
            ("head", adapter.kind),
            ("labels", f"{len(adapter.labels)}, they {relation}"),
            ("model", f"{output.printable(adapter.model.name)}, preprocessing {training_preprocessing(adapter.model)}"),
            *((name.replace("_", " "), output.printable(_format(value))) for name, value in adapter.training.items()),
        ],
    )
    for figures in adapter.figures:
        _print_figures(figures)


def _format(value: object) -> str:
    return ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


def _print_figures(figures: "AdapterFigures") -> None:
    rows = [
        ("accuracy", figures.accuracy),
        ("balanced accuracy", figures.balanced_accuracy),
        ("mean AUC", figures.mean_auc),
        ("Brier score, 0 is best", figures.brier),
        *((f"AUC of {output.printable(name)}", figure) for name, figure in figures.label_auc.items()),
    ]
    output.print_table(
        ("figure", "value", "95 % interval"),
        [
            *((name, *format_figure(figure)) for name, figure in rows if figure is not None),
            ("calibration error, 0 is best", f"{figures.calibration_error:.3f}", ""),
        ],
        title=f"on {figures.images:,} images ({output.printable(figures.scored_on)})",
    )
