"""Tables that more than one verb prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output

if TYPE_CHECKING:
    from medimageinsight.export.parity import Parity


def print_parity(parity: Parity, *, title: str) -> None:
    """What was compared and how far apart it was, with the bounds."""
    image, text = parity.image, parity.text
    rows = [
        ("inputs", str(image.inputs), str(text.inputs), ""),
        ("largest difference", f"{image.max_abs_diff:.2e}", f"{text.max_abs_diff:.2e}", f"{parity.bound:.0e}"),
        ("smallest cosine", f"{image.min_cosine:.9f}", f"{text.min_cosine:.9f}", ""),
        (
            "alone against in a batch",
            f"{image.max_batch_diff:.2e}",
            f"{text.max_batch_diff:.2e}",
            f"{parity.batch_bound:.0e}",
        ),
        ("two calls, the same bits", _yes(image.repeatable), _yes(text.repeatable), "yes"),
    ]
    output.print_table(("embeddings", "image", "text", "bound"), rows, title=title)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
