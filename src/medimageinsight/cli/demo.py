"""``mi2 demo``: real images, the descriptions that fit best, and two searches, judged against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, load_model
from medimageinsight.cli.results import format_cosine, mark_row, name_first_row
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from medimageinsight.cli.demo_results import DemoResults, Search, Verdict
    from medimageinsight.cli.results import Row

_STYLES = {"right": "green", "half right": "yellow", "wrong": "bold red", "not judged": "dim"}


def demo(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The image file to write, PNG or JPEG.")] = Path(
        "medimageinsight-demo.png"
    ),
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Describe and search a few real clinical images, and draw the result. A first test of an installation.

    Each description and each search is compared with what the image is. Sources and licences of the images are in the
    package's folder builtin/demo.
    """
    from medimageinsight.bundle import warn_of_words
    from medimageinsight.cli.demo_results import run_demo
    from medimageinsight.cli.demo_sheet import draw_demo, summary

    with load_model(model) as loaded:
        results = run_demo(loaded)
    if warning := warn_of_words(results.unknown_words):
        output.note(f"warning: {warning['message']}: {', '.join(results.unknown_words)}")
    with error_context(out):
        suffix = out.suffix.lower()
        # quality is of JPEG, compress_level of PNG
        draw_demo(results).save(
            out, format="JPEG" if suffix in {".jpg", ".jpeg"} else "PNG", quality=85, compress_level=3
        )
    if as_json:
        output.print_json({**results.to_dict(), "contact_sheet": str(out)})
        return
    _print_images(results)
    _print_searches(results)
    output.results().print(f"{summary(results)}\nContact sheet: {out}\n{DISCLAIMER}")


def _print_images(results: "DemoResults") -> None:
    rows: list[Row] = []
    for image in results.images:
        cells: list[Row] = [
            (
                _verdict(image.verdict) if index == 0 else "",
                prompt,
                output.bar(probability),
                f"{probability:.0%}",
                format_cosine(cosine),
            )
            for index, (prompt, probability, cosine) in enumerate(image.ranked())
        ]
        marks = [("", *row) for row in mark_row(image.result.unlike_validation, columns=4)]
        rows += name_first_row(image.example.title, [*cells, *marks], style="bold")
    output.print_table(
        ("image", "result", "the two best descriptions", "", "probability", "cosine"),
        rows,
        title=f"What {results.model} makes of real images",
    )


def _print_searches(results: "DemoResults") -> None:
    for title, searches in (
        ("Search by text among these images", results.by_text),
        ("Similar cases among these images", results.by_image),
    ):
        rows: list[Row] = []
        for search in searches:
            cells: list[Row] = [
                (
                    _verdict(search.verdict) if rank == 0 else "",
                    results.images[index].example.title,
                    format_cosine(cosine),
                )
                for rank, (index, cosine) in enumerate(search.hits)
            ]
            rows += name_first_row(_query(results, search), cells, style="bold")
        output.print_table(("query", "result", "the best images", "cosine"), rows, title=title)


def _query(results: "DemoResults", search: "Search") -> str:
    return search.text if search.query is None else results.images[search.query].example.title


def _verdict(verdict: "Verdict") -> Text:
    reason = f": {verdict.reason}" if verdict.reason else ""
    return Text(f"{verdict.word}{reason}", style=_STYLES[verdict.word])
