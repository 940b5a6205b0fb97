"""``mi2 embed``: embed images and texts."""

import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Files,
    Frame,
    Model,
    Percentiles,
    Preprocessing,
    Window,
    choose_window,
    load_model,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.errors import InputError, TextError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.partial_results import PartialResults
    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.cli.vector_files import Result, Write

SHOWN_NUMBERS = 4


def embed(
    files: Files = None,
    text: Annotated[list[str] | None, typer.Option(help="A text to embed; repeatable.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="F.npy|F.jsonl|F.parquet",
            help="Write the embeddings to this file. In .npy the row of a failed image is NaN.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted call with --out, whose results are in F.partial.")
    ] = False,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed images and texts as vectors that can be compared with each other; images first, then texts.

    --out also states the model and the names: next to .npy and .jsonl, within .parquet. An interrupted call leaves its
    results in F.partial: repeat it with --resume.
    """
    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.cli.vector_files import check_ending, new_vector_file

    texts = text or []
    sources = SourceList(files or [], reading, frame=frame)
    if texts:
        reading.check_comparable()
    if not sources and not texts:
        raise InputError("expected image files or --text, got neither: name what to embed", code="nothing_to_embed")
    if out is not None:
        check_ending(out)
    elif resume:
        raise InputError("expected --out with --resume, got none: name the file to continue", code="resume_invalid")
    loaded = load_model(model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    dim = loaded.embedding_dim * reading.vector_lengths
    failed = done = 0
    with ExitStack() as stack:
        stack.enter_context(error_context(out, OSError))
        partial = (
            None
            if out is None
            else stack.enter_context(_partial(out, loaded, [*sources.planned, repr(reading)], texts, frame, resume))
        )
        writers = [stack.enter_context(file) for file in _outputs(out, dim, as_json=as_json)]
        shown = not (as_json and sys.stdout.isatty())  # else JSON and progress would mix on the screen
        total = None if sources.count is None else sources.count + len(texts)
        progress = stack.enter_context(output.counting("embedding", total, shown=shown))
        results = stack.enter_context(closing(_embed(loaded, sources, texts, partial)))
        for done, result in enumerate(results, start=1):
            if result.error is not None:
                failed += 1
                output.error(result.error.message, source=result.source)
            for write in writers:
                write(result)
            progress(done)
        if out is not None and partial is not None:
            with new_vector_file(out, count=done, dim=dim, model=loaded.identity) as write:
                for result in partial:
                    write(result)
            partial.remove()
    members_failed = sources.print_used()
    if out is not None:
        output.note(f"{done - failed:,} of {done:,} embedded, {dim} numbers each: {out}")
    if failed or members_failed:
        raise typer.Exit(FAILED_INPUT)


@contextmanager
def _partial(
    out: Path, model: "MedImageInsight", sources: Sequence[str], texts: Sequence[str], frame: int, resume: bool
) -> "Iterator[PartialResults]":
    """Open the results so far; if the block fails, they stay, and a note states how to continue."""
    from medimageinsight.cli.partial_results import PartialResults, identify_call

    with PartialResults(out, identify_call(sources, texts, frame, model.identity), resume=resume) as partial:
        try:
            yield partial
        except BaseException:
            if partial.count:
                output.note(f"{partial.count:,} results are in {partial.path}: continue with this call and --resume")
            else:
                partial.remove()
            raise


def _embed(
    model: "MedImageInsight", sources: "SourceList", texts: Sequence[str], partial: "PartialResults | None"
) -> "Generator[Result]":
    """Yield the results that are stored already, then embed the others and store them."""
    from medimageinsight.cli.partial_results import check_names

    if partial is None:
        yield from _embed_all(model, sources, texts, 0)
        return
    done: list[str] = []
    for result in partial:
        done.append(result.source)
        yield result
    for result in _embed_all(model, sources, texts, len(done)):
        partial.append(result)
        yield result
    check_names(done, [*sources.names, *texts])


def _embed_all(model: "MedImageInsight", sources: "SourceList", texts: Sequence[str], done: int) -> "Generator[Result]":
    """Embed sources and texts, without the first ones, which are done."""
    from medimageinsight.cli.vector_files import Result

    with closing(model.stream_images(sources.start_at(done))) as stream:
        for result in stream:
            position = done + result.index
            yield Result(
                source=sources.names[position],
                embedding=result.embedding,
                error=result.error,
                warnings=result.warnings,
                parts=sources.used[position].to_json(),
            )
    for text in texts[max(0, done - len(sources.names)) :]:
        try:
            yield Result(source=text, embedding=model.embed_texts(text))
        except TextError as error:
            yield Result(source=text, error=error)


def _outputs(out: Path | None, dim: int, *, as_json: bool) -> "Iterator[AbstractContextManager[Write]]":
    """Yield the writers of results to standard output."""
    if as_json:
        yield _json_list()
    elif out is None:
        yield _table(dim)


@contextmanager
def _json_list() -> "Iterator[Write]":
    """Write a JSON list to standard output, item by item: the whole may not fit in memory."""
    before = "[\n"

    def write(result: "Result") -> None:
        nonlocal before
        sys.stdout.write(before + json.dumps(result.to_dict(), allow_nan=False))
        before = ",\n"

    yield write
    sys.stdout.write("\n]\n")


@contextmanager
def _table(dim: int) -> "Iterator[Write]":
    """Print a table of the first numbers when all sources are embedded, without the failed ones."""
    rows: list[tuple[str, ...]] = []

    def write(result: "Result") -> None:
        if result.embedding is not None:
            first = " ".join(f"{value:+.4f}" for value in result.embedding[:SHOWN_NUMBERS])
            rows.append((output.printable(result.source), f"{first} …"))

    yield write
    if rows:
        output.print_table(("source", f"embedding, {dim} numbers"), rows)
        output.note("--out F.npy, F.jsonl or F.parquet stores the vectors, --json prints them")
