"""Errors that both kinds of stores raise."""

from __future__ import annotations

from medimageinsight.errors import InputError, StoreError


def store_not_found() -> StoreError:
    """Return the error for a location without a store."""
    return StoreError("expected a store, found none: make one with mi2 index add", code="store_not_found")


def store_exists() -> StoreError:
    """Return the error for a new store at the location of another."""
    return StoreError("expected a location without a store, found one: open it", code="store_exists")


def store_not_writable(reason: str) -> StoreError:
    """Return the error for a failed transaction."""
    message = f"expected a store that can be written, it cannot ({reason}): nothing of this call was written"
    return StoreError(message, code="store_not_writable")


def store_unreadable(reason: str, advice: str) -> StoreError:
    """Return the error for a store that cannot be read."""
    return StoreError(f"expected a store that can be read, it cannot ({reason}): {advice}", code="store_invalid")


def store_empty() -> InputError:
    """Return the error for an operation that needs items."""
    return InputError("expected a store with items, got an empty one: add images first", code="store_empty")
