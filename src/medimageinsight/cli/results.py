"""Results for each source: failed sources on standard error, the others as one JSON document or as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.search import StoreClassification
    from medimageinsight.tasks import ZeroShotResult

    Classified = ZeroShotResult | StoreClassification
    Row = tuple[RenderableType, ...]
    RankedLabels = Sequence[tuple[str, float]]

Result = TypeVar("Result")


def print_results(
    sources: SourceList,
    results: Iterable[Result | InputError],
    to_dict: Callable[[Result], Mapping[str, object]],
    print_table: Callable[[list[tuple[str, Result]]], None],
    *,
    as_json: bool,
) -> None:
    """Print the result of every source, and end with exit code 1 if a source failed.

    Args:
        sources: The sources, which have been read.
        results: A result for each source, or its error.
        to_dict: Returns the JSON keys of a result.
        print_table: Prints the sources that did not fail with their results; called only if there are any.
        as_json: Print a JSON list in the order of the sources, which contains the errors too.
    """
    pairs = list(zip(sources.names, results, strict=True))
    succeeded = [(source, result) for source, result in pairs if not isinstance(result, InputError)]
    for source, result in pairs:
        if isinstance(result, InputError):
            output.error(result.message, source=source)
    if as_json:
        output.print_json(
            [
                {"source": source}
                | ({"error": result.to_dict()} if isinstance(result, InputError) else dict(to_dict(result)))
                | used.to_json()
                for (source, result), used in zip(pairs, sources.used, strict=True)
            ]
        )
    elif succeeded:
        print_table(succeeded)
    members_failed = sources.print_used()
    if len(succeeded) < len(pairs) or members_failed:
        raise typer.Exit(FAILED_INPUT)


def print_probabilities(
    sources: SourceList,
    results: Iterable[NDArray[np.float32] | InputError],
    labels: Sequence[str],
    *,
    top: int,
    as_json: bool,
) -> None:
    """Print the `top` most probable labels of each image; as JSON all labels."""
    print_results(
        sources,
        results,
        lambda row: {"probabilities": dict(zip(labels, output.numbers(row), strict=True))},
        lambda succeeded: print_ranked_labels([(source, rank_labels(row, labels, top)) for source, row in succeeded]),
        as_json=as_json,
    )


def rank_labels(probabilities: NDArray[np.float32], labels: Sequence[str], top: int) -> list[tuple[str, float]]:
    """Return the `top` most probable labels with their probabilities, highest first."""
    order = (-probabilities).argsort(kind="stable")[:top]
    return [(labels[index], float(probabilities[index])) for index in order]


def print_ranked_labels(ranked: Iterable[tuple[str, RankedLabels]]) -> None:
    """Print a table of each source's labels with their probabilities."""
    rows: list[Row] = []
    for source, labels in ranked:
        rows += name_first_row(source, [_label_cells(label, probability) for label, probability in labels])
    output.print_table(("source", "label", "", "probability"), rows)


def print_classified(results: Iterable[tuple[str, Classified]], top: int) -> None:
    """Print a table of each source's best labels, with the best cosine and the mark of unlike images."""
    rows: list[Row] = []
    for source, result in results:
        ranked = sorted(result.probabilities.items(), key=lambda entry: -entry[1])[:top]
        cells = [
            (*_label_cells(label, probability), format_cosine(result.cosine) if index == 0 else "")
            for index, (label, probability) in enumerate(ranked)
        ]
        rows += name_first_row(source, [*cells, *mark_row(result.unlike_validation, columns=4)])
    output.print_table(("source", "label", "", "probability", "best cosine"), rows)


def format_cosine(cosine: float | None) -> str:
    """Format a cosine; a dash if there is none."""
    return "–" if cosine is None else f"{cosine:.3f}"


def mark_lines(unlike: bool | None) -> list[str]:
    """Return the line that marks an image as unlike those that the model was checked on; none for others."""
    from medimageinsight.bundle import UNLIKE

    return [UNLIKE] if unlike else []


def mark_row(unlike: bool | None, *, columns: int) -> list[Row]:
    """Return the line of `mark_lines` as a row of a table."""
    return [(Text(line, style="yellow"), *[""] * (columns - 1)) for line in mark_lines(unlike)]


def warn_of_unknown(results: Iterable[Any]) -> None:
    """Print the words of a call's texts that the model never learned; they are the same in each result."""
    from medimageinsight.bundle import warn_of_words

    words = next((result.unknown_words for result in results if not isinstance(result, InputError)), ())
    if warning := warn_of_words(words):
        output.note(f"warning: {warning['message']}: {', '.join(words)}")


def _label_cells(label: str, probability: float) -> Row:
    return Text(output.printable(label)), output.bar(probability), f"{probability:.1%}"


def name_first_row(source: str, rows: Iterable[Row], *, style: str = "") -> list[Row]:
    """Prepend a column that names the source in the first row and is empty below it."""
    name = Text(output.printable(source), style=style)
    return [(name if index == 0 else "", *row) for index, row in enumerate(rows)]


def format_figure(figure: Figure | None, *, absent: str = "–") -> tuple[str, str]:
    """Format value and interval; a dash if there is no figure."""
    return (absent, "") if figure is None else (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")


def print_failures(failed: Mapping[str, InputError]) -> None:
    """Print the error of each failed file."""
    for source, error in failed.items():
        output.error(error.message, source=source)


def failures_to_json(failed: Mapping[str, InputError]) -> list[dict[str, object]]:
    """Return failed files for a JSON document."""
    return [{"source": source, "error": error.to_dict()} for source, error in failed.items()]
