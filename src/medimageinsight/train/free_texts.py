"""Free texts as training captions: sentences of reports, captions of publications, negations.

A CSV or Parquet table with the column ``text`` and any of ``modality``, ``anatomy``, ``view`` and ``finding``: what the
text states, in the words of the samples. An empty cell is not stated: such a text is true of images of every anatomy,
view or finding.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.files.columns import find_column, read_columns
from medimageinsight.train.caption_wording import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.datasets import Sample


@dataclass(frozen=True, slots=True)
class FreeText:
    """A text and the parts that it states, in the order of `PARTS`; '' where it states none."""

    text: str
    parts: tuple[str, ...]


def read_free_texts(path: Path) -> list[FreeText]:
    """Read a table of free texts.

    Raises:
        ConfigError: The file cannot be read, has no column ``text``, or a row has no text or states nothing
            (``free_texts_invalid``).
    """

    def choose(header: Sequence[str]) -> dict[str, str]:
        found = {name: find_column(header, name) for name in ("text", *PARTS)}
        return {name: column for name, column in found.items() if column is not None}

    try:
        cells = read_columns(path, choose)
    except DatasetError as error:
        raise _invalid(error.message) from None
    if "text" not in cells:
        raise _invalid("no column text")
    texts = []
    for number, text in enumerate(cells["text"]):
        parts = tuple(cells[part][number] if part in cells else "" for part in PARTS)
        if not text or not any(parts):
            raise _invalid(f"row {number + 1} without a text, or without anything that it states")
        texts.append(FreeText(text, parts))
    return texts


def describe_free_texts(texts: Sequence[FreeText]) -> str:
    """Return the SHA-256 of texts and what they state, for the record of a run."""
    return hashlib.sha256(json.dumps([[free.text, *free.parts] for free in texts]).encode()).hexdigest()


def match_free_texts(texts: Sequence[FreeText], samples: Sequence[Sample]) -> dict[tuple[str, ...], list[FreeText]]:
    """Return the texts that are true of the samples with these parts."""
    kinds = {tuple(getattr(sample, part) for part in PARTS) for sample in samples}
    matching: dict[tuple[str, ...], list[FreeText]] = defaultdict(list)
    for kind in kinds:
        for text in texts:
            if all(stated in ("", part) for stated, part in zip(text.parts, kind, strict=True)):
                matching[kind].append(text)
    return dict(matching)


def _invalid(got: str) -> ConfigError:
    return ConfigError(
        f"config.captions.texts: expected a table of texts and what they state, got: {got}", code="free_texts_invalid"
    )
