"""A table of pictures with captions and labels, from a CSV or Parquet file."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from medimageinsight.datasets.sample import Sample, Table
from medimageinsight.errors import DatasetError
from medimageinsight.files.columns import bad_rows, read_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.errors import InputError

FIELDS = tuple(field.name for field in fields(Sample) if field.name != "byte_range")
CAPTION_PARTS = ("modality", "anatomy", "view", "finding")
__all__ = [
    "CAPTION_PARTS",
    "FIELDS",
    "Sample",
    "Table",
    "broken_images",
    "read_table",
]
_FILES_NAMED = 10


def read_table(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Table:
    """Reads a ``.csv`` (UTF-8, comma) or ``.parquet`` file with one row a picture.

    The column ``path`` (or ``image``) is required; it is relative to ``root``. So is ``caption``, which is otherwise
    built, row by row, from modality, anatomy, view and finding. All other columns of :class:`Sample` are optional, and
    columns that it does not know are not read. Whether the pictures exist is found out by whoever opens them.

    Args:
        path: The file.
        root: The folder that picture paths start from; the file's own when not given.
        split: Keep only this split.
        columns: Field of :class:`Sample` to column of the file, where their names differ.

    Raises:
        DatasetError: The file cannot be read, or its columns or rows cannot be used; all problems are named at once.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    cells = read_columns(file, lambda header: _choose_columns(header, columns or {}))
    folder = Path(root) if root is not None else file.parent
    table = Table(samples=_build_samples(cells, folder), root=folder)
    return table if split is None else table.of_split(split)


def _choose_columns(header: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Field to column. Raises one error that names everything wrong with the columns."""
    problems = [f"{field!r} is not a field (they are {', '.join(FIELDS)})" for field in renamed if field not in FIELDS]
    problems += [f"there is no column {column!r}" for column in renamed.values() if column not in header]
    problems += [f"the column {name!r} comes twice" for name, count in Counter(header).items() if count > 1]
    chosen = {field: renamed.get(field, field) for field in FIELDS}
    if "path" not in renamed and "path" not in header:
        chosen["path"] = "image"
    chosen = {field: column for field, column in chosen.items() if column in header}
    if "path" not in chosen and "path" not in renamed:
        problems.append("there is no column 'path' or 'image'")
    if "caption" not in renamed and not {"caption", *CAPTION_PARTS} & chosen.keys():
        problems.append(f"there is no column 'caption' nor any to build it from ({', '.join(CAPTION_PARTS)})")
    if problems:
        raise DatasetError(
            f"the table's columns cannot be used: {'; '.join(problems)}. Rename them, or map them with `columns`",
            code="dataset_columns_invalid",
        )
    return chosen


def _build_samples(cells: dict[str, list[str]], root: Path) -> tuple[Sample, ...]:
    """Samples of all rows. Raises one error that names everything wrong with the rows."""
    if not cells["path"]:
        raise DatasetError("expected at least one row, got a header alone: add pictures", code="dataset_empty")
    samples: list[Sample] = []
    problems: dict[str, list[int]] = defaultdict(list)
    seen: set[PurePosixPath] = set()
    for number, row in enumerate(zip(*cells.values(), strict=True), start=1):
        values = dict(zip(cells, row, strict=True))
        relative = PurePosixPath(values.pop("path"))
        caption = values.pop("caption", "") or " ".join(filter(None, (values.get(part) for part in CAPTION_PARTS)))
        if not relative.name:
            problems["no picture path"].append(number)
        elif _leaves_root(relative):
            problems["a picture path outside the folder (absolute, or with '..')"].append(number)
        elif relative in seen:
            problems["a picture that an earlier row has"].append(number)
        if not caption:
            problems["no caption, nor parts to build it from"].append(number)
        seen.add(relative)
        samples.append(Sample(path=root / relative, caption=caption, **values))
    if problems:
        raise bad_rows(problems)
    return tuple(samples)


def broken_images(problems: Mapping[Path, InputError]) -> DatasetError:
    """The error for pictures of a table that cannot be read: how many there are, and the first few with their codes."""
    first = sorted((path.name, error.code) for path, error in problems.items())[:_FILES_NAMED]
    named = "; ".join(f"{name}: {code}" for name, code in first)
    return DatasetError(
        f"{len(problems)} pictures cannot be read: {named}: mend them or remove them from the table",
        code="dataset_broken_images",
    )


def _leaves_root(relative: PurePosixPath) -> bool:
    """Whether a path escapes its folder. Read by Windows' rules, which know every separator and drive letters."""
    path = PureWindowsPath(str(relative))
    return bool(path.anchor) or ".." in path.parts
