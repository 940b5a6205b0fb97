"""Errors of verbs, reported as lines on standard error and an exit code, never as a traceback."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, ParamSpec

import typer

from medimageinsight.cli import output
from medimageinsight.errors import ImageError, InputError, MedImageInsightError, RequestError, TextError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Parameters = ParamSpec("Parameters")

FAILED_INPUT = 1
WRONG_CALL = 2
INTERRUPTED = 130  # 128 + SIGINT, as in shells

# Codes of errors in the arguments, in addition to every InputError that is not about an image, a text or a request.
_WRONG_CALL_CODES = {
    "bundle_not_found",
    "precision_unknown",
    "calibration_missing",
    "store_not_found",
    "store_exists",
    "dataset_split_unknown",
    "finding_sources_unknown",
    "group_column_unknown",
    "group_column_too_fine",
    "run_not_found",
}


class SourceFailedError(Exception):
    """An error with its source, which its own message never contains."""

    def __init__(self, source: str, error: MedImageInsightError | OSError) -> None:
        super().__init__(source, error)
        self.source = source
        self.error = error


@contextmanager
def error_context(
    source: str | os.PathLike[str] | None,
    kind: type[Exception] | tuple[type[Exception], ...] = (MedImageInsightError, OSError),
) -> Iterator[None]:
    """Add the source to errors of this kind that the block raises; None adds nothing."""
    try:
        yield
    except (MedImageInsightError, OSError) as error:
        if source is None or not isinstance(error, kind) or isinstance(error, BrokenPipeError):
            raise
        raise SourceFailedError(os.fspath(source), error) from error


def report_errors(verb: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Wrap a verb so that its errors become one line and an exit code.

    With ``--json`` a failure of the whole call is a JSON document too: ``{"error": {"code", "message"}}``.
    """

    @functools.wraps(verb)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            try:
                verb(*args, **kwargs)
            finally:
                sys.stdout.flush()  # a closed pipe is noticed here and not at exit
        except typer.Exit:
            raise
        except BrokenPipeError:
            _leave_broken_pipe()
        except KeyboardInterrupt:
            output.note("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:  # every error becomes one line
            _fail(error, as_json=bool(kwargs.get("as_json")))

    return run


def exit_code(error: Exception) -> int:
    """Return the exit code: 2 for a wrong call, 1 for a correct call that failed."""
    input_failed = isinstance(error, ImageError | TextError | RequestError)
    wrong_call = isinstance(error, InputError) and not input_failed
    return WRONG_CALL if wrong_call or getattr(error, "code", None) in _WRONG_CALL_CODES else FAILED_INPUT


def _fail(raised: Exception, *, as_json: bool) -> NoReturn:
    if os.environ.get("MI2_DEBUG"):
        traceback.print_exception(raised)
    source, error = (raised.source, raised.error) if isinstance(raised, SourceFailedError) else (None, raised)
    described = _describe(error)
    if source is None:  # otherwise the notes, the position of the source, add nothing
        described["message"] += "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    first, *rest = _lines(error, described["message"])
    output.error(first, source=source)
    for line in rest:
        output.detail(line)
    if as_json:
        output.print_json({"source": source, "error": described} if source is not None else {"error": described})
    raise typer.Exit(exit_code(error)) from None


def _lines(error: Exception, message: str) -> list[str]:
    """Return a line for each kind of a dataset's problems, else the message as one line."""
    from medimageinsight.datasets import DatasetProblems

    return message.split("\n") if isinstance(error, DatasetProblems) else [message]


def _describe(error: Exception) -> dict[str, str]:
    """Return ``{"code": ..., "message": ...}`` for any error."""
    if isinstance(error, MedImageInsightError):
        return error.to_dict()
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return {
            "code": "file_failed",
            "message": f"expected a path that can be used, got {reason!r}: check its spelling and permissions",
        }
    return {
        "code": "unexpected",
        "message": f"{type(error).__name__}, which should not happen: repeat the call with MI2_DEBUG=1 and report "
        "its output",
    }


def _leave_broken_pipe() -> NoReturn:
    """End after standard output was closed, as by ``head``, without an error for buffered output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(FAILED_INPUT)
