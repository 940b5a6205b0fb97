"""Read a CSV or Parquet table of images with captions and labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from medimageinsight.datasets.medmnist import is_medmnist, read_medmnist
from medimageinsight.datasets.sample import Sample, Table
from medimageinsight.errors import DatasetError
from medimageinsight.files.columns import find_column, read_columns
from medimageinsight.files.paths import join_table_path, path_below
from medimageinsight.files.table_errors import bad_columns, bad_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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
    required: Collection[str] = ("caption",),
) -> Table:
    """Read a ``.csv``, ``.tsv`` or ``.parquet`` file with one row for each image; see `files.columns.read_columns`.

    A MedMNIST file (``.npz``) is read as `read_medmnist` does; it has no other columns.

        read_table("scans.csv", columns={"path": "File name", "label": "Diagnosis"}, required=("label",))

    The column ``path`` (or ``image``) is required; it is relative to ``root``, or absolute and below it. A missing or
    empty ``caption`` is built, row by row, from modality, anatomy, view and finding. All other fields of `Sample` are
    optional columns, and other columns are ignored. Names of columns match without regard to case, spaces and
    punctuation. The images are not opened.

    Args:
        path: The table's file.
        root: The folder that image paths are relative to; the file's own by default.
        split: Return the samples of this split only.
        columns: Field of `Sample` to column of the file, where their names differ.
        required: Fields that the task needs besides the path. A required caption is required of each row; the cells of
            other columns may be empty.

    Raises:
        DatasetError: The file cannot be read, or its columns or rows cannot be used; all problems are named at once.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    if is_medmnist(file):
        if root is not None or columns:
            raise bad_columns("a MedMNIST file has neither columns nor paths", "Leave out --path-column and --root")
        return read_medmnist(file, split=split)
    cells = read_columns(file, lambda header: _choose_columns(header, columns or {}, required))
    folder = Path(root) if root is not None else file.parent
    table = Table(samples=_build_samples(cells, folder, needs_caption="caption" in required), root=folder)
    return table if split is None else table.of_split(split)


def _choose_columns(header: Sequence[str], renamed: Mapping[str, str], required: Collection[str]) -> dict[str, str]:
    """Return the column of each field, or raise one error that names all problems of the columns."""
    problems = [f"{field!r} is not a field (they are {', '.join(FIELDS)})" for field in renamed if field not in FIELDS]
    problems += [f"the column {name!r} occurs twice" for name, count in Counter(header).items() if count > 1]
    found = {field: find_column(header, renamed.get(field, field)) for field in FIELDS}
    if "path" not in renamed:
        found["path"] = found["path"] or find_column(header, "image")
    problems += [f"there is no column {renamed[field]!r}" for field in renamed if field in FIELDS and not found[field]]
    chosen = {field: column for field, column in found.items() if column is not None}
    if "path" not in chosen and "path" not in renamed:
        problems.append("there is no column 'path' or 'image'")
    missing = [field for field in required if field not in {*chosen, *renamed, "caption"}]
    problems += [f"there is no column {field!r}" for field in missing]
    if "caption" in required and "caption" not in renamed and not {"caption", *CAPTION_PARTS} & chosen.keys():
        problems.append(f"there is no column 'caption' nor any to build it from ({', '.join(CAPTION_PARTS)})")
    if problems:
        raise bad_columns("; ".join(problems), "Rename them, or map them with `columns` (path: --path-column)")
    return chosen


def _build_samples(cells: dict[str, list[str]], root: Path, *, needs_caption: bool) -> tuple[Sample, ...]:
    """Return the samples of all rows, or raise one error that names all problems of the rows."""
    if not cells["path"]:
        raise DatasetError("expected at least one row, got only a header: add images", code="dataset_empty")
    samples: list[Sample] = []
    problems: dict[str, list[int]] = defaultdict(list)
    seen: set[PurePosixPath] = set()
    for number, row in enumerate(zip(*cells.values(), strict=True), start=1):
        values = dict(zip(cells, row, strict=True))
        relative = _relative_path(values.pop("path"), root)
        caption = values.pop("caption", "") or " ".join(filter(None, (values.get(part) for part in CAPTION_PARTS)))
        windows = PureWindowsPath(str(relative))  # its rules cover every separator and drive letters
        if not relative.name:
            problems["no image path"].append(number)
        elif windows.anchor or ".." in windows.parts:
            problems["an image path outside the folder (absolute, or with '..')"].append(number)
        elif relative in seen:
            problems["an image path that occurs twice"].append(number)
        if needs_caption and not caption:
            problems["no caption and no parts to build it from"].append(number)
        seen.add(relative)
        samples.append(Sample(path=root / relative, caption=caption, **values))
    if problems:
        raise bad_rows(problems)
    return tuple(samples)


def _relative_path(cell: str, root: Path) -> PurePosixPath:
    """Return the path of a cell relative to the root; one outside the root as it is."""
    path = join_table_path(root, cell)
    if Path(cell).is_absolute():
        return PurePosixPath((path_below(path, root) or path).as_posix())
    return PurePosixPath(path.relative_to(root).as_posix() if path.is_relative_to(root) else cell)


def broken_images(problems: Mapping[Path, InputError]) -> DatasetError:
    """Return the error for images that cannot be read: how many there are, and the first few with their codes."""
    first = sorted((_short_name(path), error.code) for path, error in problems.items())[:_MAX_FILES_NAMED]
    named = "; ".join(f"{name}: {code}" for name, code in first)
    return DatasetError(
        f"{len(problems)} images cannot be read: {named}: repair them or remove them from the table",
        code="dataset_broken_images",
    )


def _short_name(path: Path) -> str:
    """Return the name of a file, or ``file.npz#train/17`` for an image in it."""
    return f"{path.parent.name}/{path.name}" if "#" in path.parent.name else path.name
