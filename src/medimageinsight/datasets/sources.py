"""The sources of a dataset as a config names them, read into one table."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Table, join_tables
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.table import read_table
from medimageinsight.datasets.texts import ClassNames
from medimageinsight.datasets.tsv import read_tsv
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


# The kinds that read a field.
_OF_KIND = {
    "path": ("table", "folder", "shards"),
    "images": ("tsv",),
    "texts": ("tsv",),
    "labels": ("tsv",),
    "columns": ("table",),
    "template": ("folder",),
}


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One source of pictures, as a config names it; paths are relative to the config.

        {kind: table, path: chest.parquet}
        {kind: folder, path: colon, template: "endoscopy colon {}"}
        {kind: tsv, images: [train_images.tsv], texts: [train_text.tsv], labels: labels.txt, split: train}
        {kind: shards, path: "shards/train-*.tar", split: train}

    Labels, class ids, patients and ids are a source's own. Files of one source, such as its training and validation
    set, need one name: as their rows say it, or as ``name``. A folder without one is named as the folder.

    Args:
        kind: How it is read.
        path: The table, the folder, a shard, or a pattern of shards with ``*``, ``?``, ``[]`` or ``**``.
        images: Image TSVs.
        texts: Text TSVs, as many.
        labels: The TSVs' label file.
        columns: Of a table: field to column, where their names differ.
        template: Of a folder: what makes the caption of a label.
        split: Of samples that do not say their own.
        name: The source's name in place of what the files say.
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
    sources: Sequence[DataSource],
    base: Path,
    *,
    problems: Problems | None = None,
) -> Table:
    """All samples of all sources, in order.

    Args:
        sources: Where they are.
        base: The folder that paths start from.
        problems: Collects what is wrong, and the good samples are returned, which may be none.

    Raises:
        DatasetProblems: Something cannot be used, and ``problems`` was not given.
        MissingExtraError: A Parquet table without pyarrow.
    """
    found = Problems() if problems is None else problems
    classes = ClassNames(found)
    tables = [_read(source, base, found, classes) for source in sources]
    table = join_tables([Table(samples=(), root=base), *tables])
    if not table.samples and not found:
        found.add("table_invalid", "sources", "no sample in any")
    if problems is None:
        found.raise_any()
    return table


def _read(source: DataSource, base: Path, problems: Problems, classes: ClassNames) -> Table:
    """One source; what is wrong with it is noted."""
    paths = (Path(one) for one in (source.path, *source.images) if one)
    place = f"{source.kind} {', '.join(one.name if one.is_absolute() else str(one) for one in paths)}".strip()
    for name in _foreign(source):
        problems.add("config_value_invalid", f"{place}: {name}", f"is not for a source of kind {source.kind}")
    if source.kind != "tsv" and source.path is None:
        problems.add("config_value_invalid", source.kind, "expected a path")
        return Table(samples=(), root=base)
    path = base / (source.path or "")
    try:
        table = _read_kind(source, path, base, problems, classes)
    except (DatasetError, InputError) as error:
        problems.add("table_invalid", place, error.message)
        return Table(samples=(), root=base)
    samples = (
        replace(sample, split=sample.split or source.split, source=source.name or sample.source) for sample in table
    )
    return Table(samples=tuple(samples), root=table.root)


def _read_kind(source: DataSource, path: Path, base: Path, problems: Problems, classes: ClassNames) -> Table:
    if source.kind == "table":
        return read_table(path, columns=source.columns)
    if source.kind == "folder":
        return read_folder(path, template=source.template)
    if source.kind == "shards":
        return read_shards(_matching(base, source.path or ""), root=base, problems=problems, classes=classes)
    images, texts = ([base / one for one in files] for files in (source.images, source.texts))
    labels = None if source.labels is None else base / source.labels
    return read_tsv(images, texts, label_file=labels, root=base, problems=problems, classes=classes)


def _foreign(source: DataSource) -> list[str]:
    """Fields that are set and that its kind does not read."""
    given = [one.name for one in fields(source) if getattr(source, one.name) != getattr(DataSource(), one.name)]
    return [name for name in given if name in _OF_KIND and source.kind not in _OF_KIND[name]]


def _matching(base: Path, pattern: str) -> list[Path]:
    """The shards of a pattern, sorted; a file of that very name is the one."""
    path = base / pattern
    if path.is_file() or not any(one in pattern for one in "*?["):
        return [path]
    start = Path(path.anchor) if Path(pattern).is_absolute() else base
    try:
        return sorted(start.glob(Path(pattern).relative_to(start).as_posix() if start != base else pattern))
    except ValueError as error:
        raise DatasetError(f"{error}: correct it", code="pattern_invalid") from None
