"""``mi2 index sync`` and ``prune``: follow files that moved or were deleted."""

from typing import TYPE_CHECKING, Annotated

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
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import failures_to_json, print_failures

if TYPE_CHECKING:
    from medimageinsight.errors import InputError


def sync(
    store: StoreLocation,
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER...", help="Folders of images.", show_default=False)],
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    accept_maps: AcceptMaps = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Make a store hold the images of folders: add new files, follow moved ones, remove those that are gone.

    A moved file keeps its metadata. Items of other folders stay. New files have no metadata: give it with
    mi2 index add --update --metadata. Series and studies are read as they were added; those whose files changed are
    embedded again.
    """
    from medimageinsight.cli.index_studies import divide_sources, read_studies, stored_reading
    from medimageinsight.search import sync as sync_store
    from medimageinsight.search import sync_studies

    with load_store(store) as opened:
        settings = opened.identity.settings()
        as_studies = stored_reading(opened, folders, reading)
        sources = [] if as_studies is not None else divide_sources(folders, reading)[0]
        loaded = load_model(model, settings.default, window=settings.window, accept_maps=accept_maps)
        with output.counting("indexing", len(sources) or None) as progress, store_context(store):
            if as_studies is None:
                report = sync_store(loaded, opened, folders, sources, frame=frame, progress=progress)
            else:
                failed: dict[str, InputError] = {}
                studies = read_studies(folders, as_studies, failed)
                report = sync_studies(
                    loaded, opened, folders, studies, levels=as_studies.levels, progress=progress, failed=failed
                )
        count = opened.count()
    print_failures(report.failed)
    counts = {
        "added": report.added, "moved": report.moved, "deleted": report.deleted, "unchanged": report.unchanged,
        **({} if as_studies is None else {"updated": report.updated}),
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
