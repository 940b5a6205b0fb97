"""Read the data sources of a config into one table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medimageinsight.datasets.captions import ClassNames
from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Table, join_tables
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.table import read_table
from medimageinsight.datasets.tsv import read_tsv
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


# The kinds of source that use a field; all kinds use the others.
_KINDS_OF_FIELD = {
    "path": ("table", "folder", "shards"),
    "images": ("tsv",),
    "texts": ("tsv",),
    "labels": ("tsv",),
    "columns": ("table",),
    "template": ("folder",),
}


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One source of images, as in a config; paths are relative to the config.

        {kind: table, path: chest.parquet}
        {kind: folder, path: colon, template: "endoscopy colon {}"}
        {kind: tsv, images: [train_images.tsv], texts: [train_text.tsv], labels: labels.txt, split: train}
        {kind: shards, path: "shards/train-*.tar", split: train}

    Labels, class ids, patient ids and ids are unique within a source. Files of one source, such as its training and
    validation set, need one name, in their rows or as ``name``. A folder without a name is named after the folder.

    Args:
        kind: The format.
        path: The table, the folder, a shard, or a pattern of shards with ``*``, ``?``, ``[]`` or ``**``.
        images: Image TSVs.
        texts: As many text TSVs.
        labels: The TSVs' label file.
        columns: Of a table: field to column, where their names differ.
        template: Of a folder: makes the caption from a label.
        split: Of samples without a split of their own.
        name: The source's name, instead of the name in the files.
    """

    kind: Literal["table", "folder", "tsv", "shards"] = "table"
    path: str | None = None
    images: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    labels: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    template: str = "{}"
    split: str = ""
    name: str = ""


def read_sources(
    sources: Sequence[DataSource], base: Path, *, problems: Problems | None = None, needs_captions: bool = True
) -> Table:
    """Read all samples of all sources, in order; paths are relative to the folder ``base``.

    Without ``needs_captions``, the rows of tables may have none.

    Raises:
        DatasetProblems: There are problems, and ``problems`` was not given to collect them; with it the valid samples
            are returned, possibly none.
        MissingExtraError: A Parquet table without pyarrow.
    """
    found = Problems() if problems is None else problems
    classes = ClassNames(found)
    required = ("caption",) if needs_captions else ()
    tables = [_read_source(source, base, found, classes, required) for source in sources]
    table = join_tables([Table(samples=(), root=base), *tables])
    if not table.samples and not found:
        found.add("table_invalid", "sources", "no sample in any")
    if problems is None:
        found.raise_any()
    return table


def _read_source(
    source: DataSource, base: Path, problems: Problems, classes: ClassNames, required: tuple[str, ...]
) -> Table:
    paths = (Path(path) for path in (source.path, *source.images) if path)
    names = ", ".join(path.name if path.is_absolute() else str(path) for path in paths)
    location = f"{source.kind} {names}".strip()
    default = DataSource()
    for name, kinds in _KINDS_OF_FIELD.items():
        if source.kind not in kinds and getattr(source, name) != getattr(default, name):
            problems.add("config_value_invalid", f"{location}: {name}", f"is not for a source of kind {source.kind}")
    if source.kind != "tsv" and source.path is None:
        problems.add("config_value_invalid", source.kind, "expected a path")
        return Table(samples=(), root=base)
    try:
        table = _read_by_kind(source, base, problems, classes, required)
    except (DatasetError, InputError) as error:
        problems.add("table_invalid", location, error.message)
        return Table(samples=(), root=base)
    samples = tuple(
        replace(sample, split=sample.split or source.split, source=source.name or sample.source) for sample in table
    )
    return Table(samples=samples, root=table.root)


def _read_by_kind(
    source: DataSource, base: Path, problems: Problems, classes: ClassNames, required: tuple[str, ...]
) -> Table:
    path = source.path or ""
    if source.kind == "table":
        return read_table(base / path, columns=source.columns, required=required)
    if source.kind == "folder":
        return read_folder(base / path, template=source.template)
    if source.kind == "shards":
        return read_shards(_find_shards(base, path), root=base, problems=problems, classes=classes)
    images, texts = ([base / name for name in names] for names in (source.images, source.texts))
    labels = None if source.labels is None else base / source.labels
    return read_tsv(images, texts, label_file=labels, root=base, problems=problems, classes=classes)


def _find_shards(base: Path, pattern: str) -> list[Path]:
    """Return the shards of a pattern, sorted; or the file of that exact name."""
    path = base / pattern
    if path.is_file() or not any(character in pattern for character in "*?["):
        return [path]
    start = Path(path.anchor) if Path(pattern).is_absolute() else base
    try:
        return sorted(start.glob(Path(pattern).relative_to(start).as_posix() if start != base else pattern))
    except ValueError as error:
        raise DatasetError(f"{error}: correct it", code="pattern_invalid") from None
