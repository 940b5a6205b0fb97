"""Who sends a request: a name for logs, metrics and turns, and limits."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.serve.fair_queue import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.serve.rate_limits import RateLimits


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The owner of an API key, or a user who has logged in.

    Args:
        name: Of the key, or of the user. Callers of one name share limits and turns.
        label: The name in metrics, which is one of few.
        requests_per_minute: None without a limit.
        images_per_minute: Likewise.
    """

    name: str
    label: str
    requests_per_minute: int | None = None
    images_per_minute: int | None = None


_CURRENT: ContextVar[tuple[Caller, RateLimits] | None] = ContextVar("_CURRENT", default=None)


@contextmanager
def acting_for(caller: Caller, limits: RateLimits) -> Iterator[None]:
    """While the block runs, queue rows in the caller's turns, and count images against the caller's limit."""
    current, owner = _CURRENT.set((caller, limits)), OWNER.set(caller.name)
    try:
        yield
    finally:
        OWNER.reset(owner)
        _CURRENT.reset(current)


def count_images(count: int) -> None:
    """Count images of the current request against its caller's limit.

    Raises:
        Rejection: 429, the limit of the caller is reached.
    """
    if count and (current := _CURRENT.get()) is not None:
        caller, limits = current
        limits.count(caller.name, "images", count, caller.images_per_minute)
