"""Read a CSV or Parquet table of images with captions and labels."""

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
_MAX_FILES_NAMED = 10


def read_table(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Table:
    """Read a ``.csv`` (UTF-8, comma) or ``.parquet`` file with one row for each image.

    The column ``path`` (or ``image``) is required; it is relative to ``root``. A missing or empty ``caption`` is built,
    row by row, from modality, anatomy, view and finding. All other fields of `Sample` are optional columns, and other
    columns are ignored. The images are not opened.

    Args:
        path: The table's file.
        root: The folder that image paths are relative to; the file's own by default.
        split: Return the samples of this split only.
        columns: Field of `Sample` to column of the file, where their names differ.

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
    """Return the column of each field, or raise one error that names all problems of the columns."""
    problems = [f"{field!r} is not a field (they are {', '.join(FIELDS)})" for field in renamed if field not in FIELDS]
    problems += [f"there is no column {column!r}" for column in renamed.values() if column not in header]
    problems += [f"the column {name!r} occurs twice" for name, count in Counter(header).items() if count > 1]
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
    """Return the samples of all rows, or raise one error that names all problems of the rows."""
    if not cells["path"]:
        raise DatasetError("expected at least one row, got only a header: add images", code="dataset_empty")
    samples: list[Sample] = []
    problems: dict[str, list[int]] = defaultdict(list)
    seen: set[PurePosixPath] = set()
    for number, row in enumerate(zip(*cells.values(), strict=True), start=1):
        values = dict(zip(cells, row, strict=True))
        relative = PurePosixPath(values.pop("path"))
        caption = values.pop("caption", "") or " ".join(filter(None, (values.get(part) for part in CAPTION_PARTS)))
        windows = PureWindowsPath(str(relative))  # its rules cover every separator and drive letters
        if not relative.name:
            problems["no image path"].append(number)
        elif windows.anchor or ".." in windows.parts:
            problems["an image path outside the folder (absolute, or with '..')"].append(number)
        elif relative in seen:
            problems["an image path that occurs twice"].append(number)
        if not caption:
            problems["no caption and no parts to build it from"].append(number)
        seen.add(relative)
        samples.append(Sample(path=root / relative, caption=caption, **values))
    if problems:
        raise bad_rows(problems)
    return tuple(samples)


def broken_images(problems: Mapping[Path, InputError]) -> DatasetError:
    """Return the error for images that cannot be read: how many there are, and the first few with their codes."""
    first = sorted((path.name, error.code) for path, error in problems.items())[:_MAX_FILES_NAMED]
    named = "; ".join(f"{name}: {code}" for name, code in first)
    return DatasetError(
        f"{len(problems)} images cannot be read: {named}: repair them or remove them from the table",
        code="dataset_broken_images",
    )
