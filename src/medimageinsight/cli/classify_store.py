"""``mi2 classify --store``: labels by the most similar stored images, which are shown as the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.failures import FAILED_INPUT, about
from medimageinsight.cli.found_sheet import Found, check_folders, query_card, reread, save_sheet
from medimageinsight.cli.learned import check_out, report_failures
from medimageinsight.cli.options import load_model
from medimageinsight.cli.sources import open_source
from medimageinsight.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from medimageinsight.search import StoreAnswer

K = 10
_SHOWN_LABELS = 3  # on the sheet


def classify_by_store(
    sources: list[str],
    store: str,
    label: str,
    *,
    k: int | None,
    where: str | None,
    pictures: Path | None,
    folders: Sequence[Path] | None,
    frame: int,
    model: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Label images by a store and print the answers; options are those of `classify`."""
    from medimageinsight.search import classify, open_store, shown_location

    readable = check_folders(pictures, folders)
    if pictures is not None:
        if len(sources) != 1:
            raise InputError(
                f"expected one image with --pictures, whose sheet is about one, got {len(sources)}",
                code="pictures_of_several",
            )
        check_out(pictures)
    with about(shown_location(store), StoreError):
        opened = open_store(store)
    image = None if pictures is None else reread(sources[0])
    with opened, output.counting("classifying", len(sources)) as progress:
        found = classify(
            load_model(model),
            opened,
            map(open_source, sources) if image is None else [image],
            label=label,
            k=K if k is None else k,
            where=where,
            errors="return",
            frame=frame,
            progress=progress,
        )
    results = list(zip(sources, found, strict=True))
    failed = report_failures(results)
    for source, one in results:
        if pictures is not None and not isinstance(one, InputError):
            best = list(one.probabilities.items())[:_SHOWN_LABELS]
            query = query_card(output.printable(source), image=image, frame=frame, prompts=best)
            cards = [
                Found(hit=each.hit, lines=[f"{each.label}, weight {each.weight:.2f}"], said=label)
                for each in one.neighbours
            ]
            save_sheet(pictures, query, cards, readable, title="What the most similar stored images are")
    if as_json:
        output.print_json([_document(source, one) for source, one in results])
    else:
        _print([(source, one) for source, one in results if not isinstance(one, InputError)], top)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def _document(source: str, found: StoreAnswer | InputError) -> dict[str, object]:
    if isinstance(found, InputError):
        return {"source": source, "error": found.to_dict()}
    return {"source": source, **found.to_dict()}


def _print(answers: list[tuple[str, StoreAnswer]], top: int) -> None:
    """Two tables: the best labels of each image, and who voted for them."""
    labels = [(source, list(one.probabilities.items())[:top]) for source, one in answers]
    evidence = [row for source, one in answers for row in _evidence(source, one)]
    if not any(best for _, best in labels):
        if answers:
            output.note("no stored image has a label in the column and fits the filter")
        return
    output.print_table(
        ("source", "label", "probability", ""),
        [
            (_once(source, place), Text(output.printable(name)), output.bar(chance), f"{chance:.1%}")
            for source, best in labels
            for place, (name, chance) in enumerate(best)
        ],
    )
    output.print_table(("source", "because of", "label", "score", "weight"), evidence)


def _evidence(source: str, answer: StoreAnswer) -> list[tuple[RenderableType, ...]]:
    return [
        (
            _once(source, place),
            Text(output.printable(one.hit.id)),
            Text(output.printable(one.label)),
            f"{one.hit.score:.4f}",
            f"{one.weight:.3f}",
        )
        for place, one in enumerate(answer.neighbours)
    ]


def _once(source: str, place: int) -> Text:
    """The source's name in its first row only."""
    return Text(output.printable(source) if place == 0 else "")
