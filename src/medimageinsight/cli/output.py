"""Results on standard output, messages and progress on standard error."""

from __future__ import annotations

import functools
import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from medimageinsight.cli.table_layout import fit_table, plain_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

BAR_WIDTH = 12  # characters
_MAX_SOURCE_LENGTH = 200  # characters; a data: URI may be megabytes


@functools.cache
def results() -> Console:
    """Return the console of standard output."""
    return Console(highlight=False, emoji=False, markup=False)


@functools.cache
def messages() -> Console:
    """Return the console of standard error."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False)


_quiet = False


def set_quiet(quiet: bool) -> None:
    """Print no notes and no progress from now on, or print them again."""
    global _quiet  # noqa: PLW0603 - one command line a process
    _quiet = quiet


def note(message: str) -> None:
    """Print one line for a person, unless only results and errors are wanted."""
    if _quiet:
        return
    messages().print(Text(printable(message)), soft_wrap=True)


def error(message: str, *, source: str | None = None) -> None:
    """Print ``error: SOURCE: message`` as one line for a person."""
    subject = "" if source is None else f"{printable(source)}: "
    messages().print(
        Text.assemble(("error", "bold red"), f": {subject}{printable(message, limit=None)}"), soft_wrap=True
    )


def detail(line: str) -> None:
    """Print a line below that of `error`."""
    messages().print(Text(printable(line, limit=None)), soft_wrap=True)


class _LogNotes(logging.Handler):
    """Prints each logged message once as a note."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._shown:
            self._shown.add(message)
            note(f"warning: {message}" if record.levelno >= logging.WARNING else message)


def show_log(name: str) -> None:
    """Print what a logger reports about the user's files from now on, each message once."""
    logger = logging.getLogger(name)
    logger.handlers = [_LogNotes()]
    logger.setLevel(logging.INFO)


def print_json(document: object) -> None:
    """Print one JSON document on standard output, in ASCII, so that any locale can print any file name."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(
    columns: tuple[str, ...], rows: Sequence[tuple[RenderableType, ...]], *, title: str | None = None
) -> None:
    """Print a table on standard output: on a terminal fitted to its width, else plain and unwrapped."""
    console = results()
    if title is not None:
        console.print(Text(title, style="bold"), soft_wrap=True)
    if not console.is_terminal:
        sys.stdout.write(plain_table(columns, rows) + "\n")
        return
    table, left_out = fit_table(columns, rows, width=console.width)
    console.print(table)
    if left_out:
        note(f"columns that do not fit this terminal: {', '.join(left_out)}; --json or a pipe shows them")


def bar(fraction: float) -> ProgressBar:
    """Return a bar for a number from 0 to 1."""
    return ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH, complete_style="cyan", finished_style="cyan")


def numbers(embedding: NDArray[np.float32]) -> list[float]:
    """Return an embedding for JSON, in the fewest digits that read back as the same float32 values."""
    from medimageinsight.metrics import shortest_floats

    return shortest_floats(embedding)


def printable(text: str, *, limit: int | None = _MAX_SOURCE_LENGTH) -> str:
    """Escape line breaks, control and undecodable characters, which could command a terminal, and shorten the text."""
    shown = text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in shown
    )


@contextmanager
def counting(description: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; the block calls it with the number of finished items, of `total` if known."""
    with _progress(MofNCompleteColumn(), shown=shown) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def batch_progress(first: str, second: str) -> Iterator[tuple[Callable[[int], None], Callable[[int, int, str], None]]]:
    """Show a count, then a progress bar; the block calls one with a number, the other with total, done and a remark."""
    with _progress(MofNCompleteColumn(), TextColumn("{task.fields[remark]}")) as progress:
        task = progress.add_task(first, total=None, remark="")

        def bar(total: int, done: int, remark: str) -> None:
            progress.update(task, description=second, total=total, completed=done, remark=remark)

        yield lambda count: progress.update(task, completed=count), bar


@contextmanager
def stages() -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar on a terminal; the block calls it with the current stage and the finished fraction."""
    with _progress(TaskProgressColumn()) as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda stage, fraction: progress.update(task, description=stage, completed=fraction)


def _progress(*amounts: MofNCompleteColumn | TaskProgressColumn | TextColumn, shown: bool = True) -> Progress:
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn())
    # rich would redirect standard output to the progress bar's own stream.
    return Progress(
        *columns,
        console=messages(),
        transient=True,
        redirect_stdout=False,
        disable=_quiet or not (shown and messages().is_terminal),
    )
