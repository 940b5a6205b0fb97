"""``mi2 adapter compare``: five classifiers on the same embeddings, their settings chosen on validation images."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.labelled_tables import embed_samples, read_samples
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
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
    Window,
    check_output_file,
    choose_window,
    load_model,
)
from medimageinsight.cli.results import format_figure
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.adapters import LabelledEmbeddings
    from medimageinsight.datasets import Sample
    from medimageinsight.evaluate import AdapterComparison, LabelTable

Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="knn|logistic_regression|svm|random_forest|mlp",
        help="Compare only these; repeatable. Default: all five.",
    ),
]
ComparisonFile = Annotated[
    Path | None, typer.Option(metavar="F.json|F.csv", help="Write all figures and chosen settings to this file.")
]
LabelColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B|auto",
        help="Several labels an image: columns of 1, 0, empty and uncertain cells; repeatable. 'auto' finds them.",
    ),
]
Uncertain = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="With --label-columns: cells to ignore for a label; repeatable. Default: -1, u, uncertain, ?.",
    ),
]
Fraction = Annotated[
    float, typer.Option(help="Fraction of patients for validation and test, where splits are missing.")
]
Seed = Annotated[int, typer.Option(help="Seed of such a split, the random forest and the network.")]


def compare(
    table: LabelledTable,
    label_column: LabelColumn = "label",
    separator: Separator = None,
    label_columns: LabelColumns = None,
    uncertain: Uncertain = None,
    source: SourceName = None,
    path_column: PathColumn = None,
    root: Root = None,
    label_names: LabelNames = None,
    method: Methods = None,
    out: ComparisonFile = None,
    fraction: Fraction = 0.2,
    seed: Seed = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Compare classifiers on frozen embeddings: neighbours, logistic regression, SVM, random forest, network.

    The protocol of arXiv 2505.10823: each is fitted to the table's split 'train', its settings have the highest mean
    AUC on 'val', and it is scored once on 'test', with intervals by patient. All see the same images. A table without
    splits is split by patient. Needs the extra 'evaluate'.
    """
    from medimageinsight.evaluate import ProtocolSettings, compare_adapters, count_fits, split_for_protocol

    settings = ProtocolSettings(seed=seed, **({"methods": tuple(method)} if method else {}))  # type: ignore[arg-type]
    if out is not None:
        _check_ending(out)
        check_output_file(out)
    with error_context(table, DatasetError):
        labels: LabelTable | None = None
        if label_columns or uncertain:
            _refuse_other_labels(label_column, separator, label_columns, label_names)
            samples, labels = _read_label_columns(table, label_columns or [], uncertain, source, path_column, root)
        else:
            samples, separator = read_samples(
                table, label_column, source, separator, path_column=path_column, root=root, label_names=label_names
            )
    loaded = load_model(model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    with error_context(table, (DatasetError, InputError)):
        data = embed_samples(loaded, samples, separator)
        if labels is not None:
            data = _with_labels(data, labels)
        training, validation, test = split_for_protocol(data, samples, fraction=fraction, seed=seed)
        fits = count_fits(settings, len(training))
        with output.counting("fitting", fits) as progress:
            comparison = compare_adapters(training, validation, test, settings=settings, progress=progress)
    document = {"model": loaded.name, **comparison.to_dict()}
    if out is not None:
        with error_context(out):
            _write(comparison, document, out)
        output.note(f"comparison: {out}")
    if as_json:
        output.print_json(document)
    else:
        _print_comparison(comparison)


def _refuse_other_labels(
    column: str, separator: str | None, label_columns: list[str] | None, label_names: str | None
) -> None:
    """Refuse options of other labels, which would be ignored, and ``--uncertain`` alone."""
    if not label_columns or column != "label" or separator is not None or label_names is not None:
        raise InputError(
            "expected --label-columns without --label-column, --separator and --label-names, and --uncertain only with "
            "it, got others: leave them out",
            code="option_unused",
        )


def _read_label_columns(
    table: Path,
    columns: list[str],
    uncertain: list[str] | None,
    sources: list[str] | None,
    path_column: str | None,
    root: Path | None,
) -> "tuple[tuple[Sample, ...], LabelTable]":
    """Read the rows of a table, of all sources or some, with a column for each label."""
    import numpy as np

    from medimageinsight.cli.evaluation_inputs import LabelOptions
    from medimageinsight.datasets import read_table

    renamed = {} if path_column is None else {"path": path_column}
    rows = read_table(table, root=root, columns=renamed, required=())
    options = LabelOptions(columns=tuple(columns), uncertain=tuple(uncertain or ()))
    labels = options.read(rows, None if rows.separator else table)
    used = [index for index, sample in enumerate(rows) if not sources or sample.source in sources]
    return tuple(rows.samples[index] for index in used), labels.take(np.array(used, dtype=np.int64))


def _with_labels(data: "LabelledEmbeddings", labels: "LabelTable") -> "LabelledEmbeddings":
    """Return the embeddings with sets of labels, without those that are uncertain."""
    names = labels.names
    return replace(
        data,
        labels=[frozenset(name for name, flag in zip(names, row, strict=True) if flag) for row in labels.positives],
        uncertain=[frozenset(name for name, flag in zip(names, row, strict=True) if not flag) for row in labels.known],
    )


def _check_ending(out: Path) -> None:
    if out.suffix.lower() not in (".json", ".csv"):
        raise InputError(
            f"expected a file that ends in .json or .csv, got {out.suffix or 'no ending'}: rename it",
            code="output_format_unknown",
        )


def _write(comparison: "AdapterComparison", document: dict[str, object], out: Path) -> None:
    """Write everything as JSON, or a row for each figure as CSV."""
    from medimageinsight.files.atomic import write_text

    if out.suffix.lower() == ".json":
        write_text(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
        return
    rows = comparison.rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, text.getvalue())


def _print_comparison(comparison: "AdapterComparison") -> None:
    images = comparison.images
    output.print_table(
        ("method", "mean AUC", "95 % interval", "mean average precision", "balanced accuracy", "settings"),
        [
            (
                name.replace("_", " "),
                *format_figure(figures.mean_auc, absent="too few"),
                format_figure(figures.mean_average_precision)[0],
                format_figure(figures.balanced_accuracy)[0],
                ", ".join(f"{key} {value}" for key, value in figures.chosen.settings.items()),
            )
            for name, figures in comparison.methods.items()
        ],
        title=f"on {images['test']:,} test images, {comparison.patients_phrase}",
    )
    output.note(
        f"fitted to {images['train']:,} images, settings chosen on {images['validation']:,} others by their mean AUC"
    )
    too_few = next(iter(comparison.methods.values())).too_few
    if too_few:
        output.note(
            f"too few patients with or without {', '.join(map(output.printable, too_few))}: not in the mean AUC"
        )
