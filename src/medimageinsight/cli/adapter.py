"""``mi2 adapter``: a small head for your own labels, trained in seconds and stored in one file; and a comparison."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.adapter_compare import compare
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.labelled_tables import embed_samples, read_samples
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Frame,
    LabelColumn,
    LabelledTable,
    LabelNames,
    Model,
    PathColumn,
    Percentiles,
    Preprocessing,
    Root,
    Separator,
    SourceName,
    Top,
    Window,
    check_output_file,
    choose_window,
    load_model,
    load_model_of,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import format_figure, print_probabilities
from medimageinsight.cli.verbs import register
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.adapters import Adapter, AdapterFigures

app = typer.Typer(
    help="Train a classifier for your own labels on embeddings of labelled images, and use it.", no_args_is_help=True
)

AdapterFile = Annotated[Path, typer.Argument(metavar="ADAPTER", help="A file written by `mi2 adapter train`.")]


def train(
    table: LabelledTable,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The adapter file to write.")],
    label_column: LabelColumn = "label",
    separator: Separator = None,
    source: SourceName = None,
    path_column: PathColumn = None,
    root: Root = None,
    label_names: LabelNames = None,
    kind: Annotated[
        str, typer.Option(metavar="linear|mlp", help="A linear classifier, or one with a hidden layer.")
    ] = "linear",
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Give rare labels as much weight as common ones.")
    ] = False,
    fraction: Annotated[
        float, typer.Option(help="Fraction of patients for validation, if the table has no split 'val'.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of that split and of the initial weights of an mlp.")] = 0,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter: a small classifier on the embeddings of a table's images.

    It is trained on the table's split 'train', stopped and calibrated on 'val', and scored on 'test' if there is one.
    A table without splits is split by patient. A linear adapter needs the extra 'evaluate'.
    """
    from medimageinsight.adapters import AdapterSettings, save_adapter, split_embeddings, train_adapter
    from medimageinsight.cli.reading_model import reading_model

    settings = AdapterSettings(kind=kind, balanced=balanced, seed=seed)  # type: ignore[arg-type]  # checked there
    check_output_file(out)
    with error_context(table, DatasetError):
        samples, separator = read_samples(
            table, label_column, source, separator, path_column=path_column, root=root, label_names=label_names
        )
    loaded = load_model(model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    with error_context(table, (DatasetError, InputError)):
        data = embed_samples(reading_model(loaded, reading), samples, separator)
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
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    accept_maps: AcceptMaps = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Predict the labels of images, with calibrated probabilities."""
    from medimageinsight.adapters import load_adapter
    from medimageinsight.cli.source_list import SourceList, embed_sources

    sources = SourceList(files, reading, frame=frame)
    with error_context(adapter):
        head = load_adapter(adapter)
    loaded = load_model_of(head.model, model, accept_maps=accept_maps)
    with error_context(adapter):
        head.model.check(loaded.identity)
    embedded = embed_sources(loaded, sources, progress_title="predicting")
    predicted = [row if isinstance(row, InputError) else head.predict(row) for row in embedded]
    print_probabilities(sources, predicted, head.labels, top=top, as_json=as_json)


def info(adapter: AdapterFile, as_json: AsJson = False) -> None:
    """Show an adapter's labels and accuracy, and the model that it belongs to."""
    from medimageinsight.adapters import load_adapter

    with error_context(adapter):
        head = load_adapter(adapter)
    _print_adapter(head, as_json=as_json)


for verb in (train, compare, predict, info):
    register(app, verb, group="adapter")


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
            ("model", output.printable(f"{adapter.model.name}, {adapter.model.describe_preprocessing()}")),
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
            *((f"AUC of {output.printable(name)}", "too few", "") for name in figures.too_few),
            ("calibration error, 0 is best", f"{figures.calibration_error:.3f}", ""),
        ],
        title=f"on {figures.images:,} images ({output.printable(figures.scored_on)})"
        f"{'' if figures.patients_checked else ', patients unknown'}",
    )
