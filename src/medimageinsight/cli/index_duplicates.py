"""``mi2 index duplicates``: groups of copies of one image."""

import csv
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.options import (
    AsJson,
    Frame,
    Model,
    StoreLocation,
    Where,
    check_output_file,
    load_model,
    load_store,
    store_context,
)
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.search import Duplicates, Store

_MAX_LIMIT = 1_000_000


def duplicates(
    store: StoreLocation,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="The smallest cosine similarity of a pair, above 0. Default: that of the model's statistics, else "
            "measured with altered copies of stored images.",
            show_default=False,
        ),
    ] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Confirm pairs by the pixels of their files.")
    ] = True,
    between: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Only groups with several values of this column, such as split."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="With --between: keep the image with this value. Default: the largest."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write a table with one row for each image of a group.")
    ] = None,
    where: Where = None,
    limit: Annotated[
        int, typer.Option(min=1, max=_MAX_LIMIT, help="The largest number of pairs in --json; groups are complete.")
    ] = 1000,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster in large stores; misses some pairs near the threshold.")
    ] = False,
    frame: Frame = 0,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find copies of one image, also re-encoded, resized or slightly cropped, and the image to keep of each group.

    Pairs with similar embeddings are confirmed by their pixels. Of a group, the image with the most pixels is kept.
    """
    if out is not None:
        _check_out(out)
    with load_store(store) as opened, store_context(store):
        found = _find(
            opened,
            threshold=threshold,
            model=model,
            pixels=pixels,
            between=between,
            keep=keep,
            where=where,
            approximate=approximate,
            frame=frame,
        )
    if out is not None:
        _write_csv(out, found)
    if as_json:
        output.print_json(_to_json(found, limit, between))
        return
    _print_notes(found, limit)
    if found.clusters and out is None:
        _print_clusters(found, between)
    elif found.clusters:
        output.note(f"written to {out}")


def _find(store: "Store", *, threshold: float | None, model: str | None, **options: Any) -> "Duplicates":  # noqa: ANN401
    from medimageinsight.search import find_duplicate_clusters

    loaded = None
    if threshold is None:
        settings = store.identity.settings()
        loaded = load_model(model, settings.default, window=settings.window, accept_maps=True)
    with output.counting("comparing", store.count(where=options["where"])) as progress:
        return find_duplicate_clusters(store, threshold=threshold, model=loaded, progress=progress, **options)


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".csv":
        raise InputError(
            f"expected --out to end in .csv, got {out.suffix or 'no ending'}: rename it", code="out_unknown"
        )
    check_output_file(out)


def _write_csv(out: Path, found: "Duplicates") -> None:
    from medimageinsight.files.atomic import replace_file
    from medimageinsight.search import DuplicateImage

    with replace_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cluster", *(field.name for field in fields(DuplicateImage))])
        for number, cluster in enumerate(found.clusters, start=1):
            writer.writerows([number, *map(_cell, astuple(image))] for image in cluster)


def _cell(value: object) -> object:
    """Return a value for a CSV file, with undecodable characters of a path escaped; booleans in small letters."""
    if isinstance(value, bool):
        return str(value).lower()
    return output.printable(value, limit=None) if isinstance(value, str) else value


def _to_json(found: "Duplicates", limit: int, between: str | None) -> dict[str, Any]:
    document = {
        "pairs": [vars(pair) for pair in found.pairs[:limit]],
        "pair_count": len(found.pairs),
        "truncated": len(found.pairs) > limit or found.candidates_truncated,
        "threshold": found.threshold,
        "threshold_source": found.threshold_source,
        "candidates": found.candidates,
        "candidates_truncated": found.candidates_truncated,
        "rejected": found.rejected,
        "unread": found.unread,
        "clusters": [
            {"keep": cluster[0].id, "images": [vars(image) for image in cluster]} for cluster in found.clusters
        ],
    }
    if between is not None:
        document["between"] = {"column": between, "crossings": [vars(crossing) for crossing in found.crossings]}
    return document


def _print_notes(found: "Duplicates", limit: int) -> None:
    source = {
        "given": "given",
        "measured": "measured with copies of stored images",
        "statistics": "from the model's validation statistics",
    }[found.threshold_source]
    output.note(f"threshold: cosine {found.threshold:.4f}, {source}; {found.candidates:,} pairs reach it")
    if found.candidates_truncated:
        output.note("warning: more pairs reach the threshold; the most similar were compared: raise --threshold")
    if found.rejected:
        output.note(f"{found.rejected:,} of them have other pixels and are left out")
    if found.unread:
        outcome = "count without their pixels" if found.threshold_source == "given" else "are left out"
        output.note(f"warning: {found.unread:,} of them have a file that cannot be read, and {outcome}")
    if not found.clusters:
        output.note("no pairs were found")
        return
    images = sum(map(len, found.clusters))
    output.note(
        f"{len(found.clusters):,} groups with {images:,} images; {images - len(found.clusters):,} are not to be kept"
    )
    if len(found.pairs) > limit:
        output.note(f"--json has {limit:,} of {len(found.pairs):,} pairs, the most similar; groups are complete")
    for crossing in found.crossings:
        output.note(f"{' and '.join(crossing.values)}: {crossing.clusters:,} groups, {crossing.pairs:,} pairs")


def _print_clusters(found: "Duplicates", between: str | None) -> None:
    rows = [
        (
            str(number),
            "keep" if image.keep else "",
            f"{image.score:.4f}",
            "" if image.width is None else f"{image.width} x {image.height}",
            *(() if between is None else (output.printable(str(image.value)),)),
            output.printable(image.id),
        )
        for number, cluster in enumerate(found.clusters, start=1)
        for image in cluster
    ]
    columns = ("group", "", "score", "pixels", *(() if between is None else (between,)), "id")
    output.print_table(columns, rows)
