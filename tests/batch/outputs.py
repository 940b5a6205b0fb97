"""Read the output of a batch as a user does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["key", "embedding", "error_code", "error_message", "model", "preprocessing"]


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows of all parts, in order."""
    return [row for part in sorted(out.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def part_bytes(out: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in sorted(out.rglob("*.parquet"))}
