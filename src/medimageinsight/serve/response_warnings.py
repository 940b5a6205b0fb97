"""The header ``X-Warnings`` of a response: codes of warnings about the request's images and parameters."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WARNINGS_HEADER = "X-Warnings"

_codes: ContextVar[set[str] | None] = ContextVar("codes", default=None)


def collect_warnings() -> set[str]:
    """Return the set that `record_warnings` fills until the end of the current request."""
    codes: set[str] = set()
    _codes.set(codes)
    return codes


def record_warnings(codes: Iterable[str]) -> None:
    """Add codes to the header of the current request's response; outside of a request, do nothing."""
    if (collected := _codes.get()) is not None:
        collected.update(codes)
