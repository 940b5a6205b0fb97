"""``mi2 index sync`` and ``prune``: follow files that moved or were deleted."""

from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Frame,
    Model,
    StoreLocation,
    load_model,
    load_store,
    store_context,
)
from medimageinsight.cli.results import failures_to_json, print_failures
from medimageinsight.cli.sources import list_sources


def sync(
    store: StoreLocation,
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER...", help="Folders of images.", show_default=False)],
    frame: Frame = 0,
    accept_maps: AcceptMaps = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Make a store hold the images of folders: add new files, follow moved ones, remove those that are gone.

    A moved file keeps its metadata. Items of other folders stay. New files have no metadata: give it with
    mi2 index add --update --metadata.
    """
    from medimageinsight.search import sync as sync_store

    sources = list_sources(folders, arrays=False)
    with load_store(store) as opened:
        settings = opened.identity.settings()
        loaded = load_model(model, settings.default, window=settings.window, accept_maps=accept_maps)
        with output.counting("indexing", len(sources)) as progress, store_context(store):
            report = sync_store(loaded, opened, folders, sources, frame=frame, progress=progress)
        count = opened.count()
    print_failures(report.failed)
    counts = {
        "added": report.added, "moved": report.moved, "deleted": report.deleted, "unchanged": report.unchanged,
    }  # fmt: skip
    if as_json:
        output.print_json({**counts, "count": count, "failed": failures_to_json(report.failed)})
    else:
        summary = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items())
        output.note(f"{summary}; the store has {count:,} images")
    if report.failed:
        raise typer.Exit(FAILED_INPUT)


def prune(
    store: StoreLocation,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the images, and delete none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the stored images whose file does not exist; relative paths count from the current folder."""
    from medimageinsight.search import find_missing
    from medimageinsight.search import prune as prune_store

    with load_store(store) as opened, store_context(store):
        number = len(find_missing(opened)) if dry_run else prune_store(opened)
        count = opened.count()
    if as_json:
        output.print_json({"missing" if dry_run else "deleted": number, "count": count})
    else:
        output.note(f"{number:,} {'without a file' if dry_run else 'deleted'}; the store has {count:,} images")
