"""Probabilities of labels as a CSV file, one row for each image."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from medimageinsight.cli.output import printable
from medimageinsight.errors import InputError
from medimageinsight.files.atomic import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.cli.results import Classified

SUFFIX = ".csv"
# Spreadsheets would execute a cell that begins with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_table_name(out: Path | None) -> None:
    """Refuse a file with another ending than ``.csv``.

    Raises:
        InputError: ``out_unknown``.
    """
    if out is not None and out.suffix.lower() != SUFFIX:
        raise InputError(
            f"expected --out to end in {SUFFIX}, got {out.suffix or 'no ending'}: rename it", code="out_unknown"
        )


def write_probabilities(out: Path, sources: Sequence[str], results: Sequence[Classified | InputError]) -> None:
    """Write a row for each image.

    The columns are source, label, probability (of the best label), cosine (the best), unlike_validation (true, false,
    or empty without statistics), the probability of each label, and error.

    Labels are in the order of their first appearance; a label that an image has no probability for is 0.

    Raises:
        OSError: The file cannot be written.
    """
    succeeded = [result for result in results if not isinstance(result, InputError)]
    labels = list(dict.fromkeys(label for result in succeeded for label in result.probabilities))
    with replace_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        header = [
            "source",
            "label",
            "probability",
            "cosine",
            "unlike_validation",
            *(f"probability of {label}" for label in labels),
            "error",
        ]
        writer.writerow(header)
        for source, result in zip(sources, results, strict=True):
            name = _as_text(source)
            if isinstance(result, InputError):
                writer.writerow([name, *[""] * (len(header) - 2), result.code])
                continue
            shares = result.probabilities
            best = max(shares, key=lambda label: shares[label], default="")
            cosine = "" if result.cosine is None else f"{result.cosine:.6g}"
            mark = "" if result.unlike_validation is None else str(result.unlike_validation).lower()
            values = [f"{shares.get(label, 0):.6g}" for label in labels]
            writer.writerow([name, _as_text(best), f"{shares.get(best, 0):.6g}", cosine, mark, *values, ""])


def _as_text(text: str) -> str:
    """Return a cell without control characters that no spreadsheet takes for a formula."""
    shown = printable(text, limit=None)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
