"""Errors for tables that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROWS_NAMED = 5  # in a message, before "and N more"


def unreadable(kind: str, error: Exception) -> DatasetError:
    """Return the error for a file that is not of its kind."""
    return DatasetError(
        f"expected {kind}, got a file that cannot be read as such ({type(error).__name__}): write it again",
        code="dataset_unreadable",
    )


def bad_rows(problems: Mapping[str, Sequence[int]]) -> DatasetError:
    """Return the error for rows that cannot be used: each problem with the numbers of its rows, from 1."""
    described = "; ".join(f"{problem} in {named_rows(numbers)}" for problem, numbers in problems.items())
    return DatasetError(
        f"the table's rows cannot be used: {described}. Correct them (row 1 is the first below the header)",
        code="dataset_rows_invalid",
    )


def bad_columns(problem: str, advice: str) -> DatasetError:
    """Return the error for columns that cannot be used."""
    return DatasetError(f"the table's columns cannot be used: {problem}. {advice}", code="dataset_columns_invalid")


def named_rows(numbers: Sequence[int]) -> str:
    """Return the first few row numbers as text, and how many more there are."""
    named = ", ".join(map(str, numbers[:_ROWS_NAMED]))
    more = len(numbers) - _ROWS_NAMED
    return f"row{'s' if len(numbers) > 1 else ''} {named}" + (f" and {more} more" if more > 0 else "")
