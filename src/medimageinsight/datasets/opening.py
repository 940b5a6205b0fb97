"""The sources of a dataset as a config names them, read into one table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Table, join_tables
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.splits import split_by_patient
from medimageinsight.datasets.table import read_table
from medimageinsight.datasets.texts import ClassNames
from medimageinsight.datasets.tsv import read_tsv
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One source of pictures, as a config names it; paths are relative to the config.

        {kind: table, path: chest.parquet}
        {kind: folder, path: colon, template: "endoscopy colon {}"}
        {kind: tsv, images: [train_images.tsv], texts: [train_text.tsv], labels: labels.txt, split: train}
        {kind: shards, path: "shards/train-*.tar", split: train}

    Args:
        kind: How it is read.
        path: The table, the folder, or a pattern of shards.
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
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    problems: Problems | None = None,
) -> Table:
    """All samples of all sources, in order.

    Args:
        sources: Where they are.
        base: The folder that paths start from.
        fractions: Splits the samples without a split by patient, as `split_by_patient`; None leaves them.
        seed: Of that split.
        problems: Collects what is wrong, and the good samples are returned, which may be none.

    Raises:
        DatasetProblems: Something cannot be used, and ``problems`` was not given.
        DatasetError: The fractions are wrong (``fractions_invalid``).
        MissingExtraError: A Parquet table without pyarrow.
    """
    found = Problems() if problems is None else problems
    classes = ClassNames(found)
    tables = [_read(source, base, found, classes) for source in sources]
    table = Table(samples=tuple(sample for one in tables for sample in one), root=base)
    if tables and not all(one.root.is_relative_to(base) for one in tables):
        table = Table(samples=table.samples, root=join_tables([*tables, Table(samples=(), root=base)]).root)
    if not table.samples and not found:
        found.add("table_invalid", "sources", "no sample in any")
    if problems is None:
        found.raise_any()
    return table if fractions is None else _split_rest(table, fractions, seed)


def _read(source: DataSource, base: Path, problems: Problems, classes: ClassNames) -> Table:
    """One source; what is wrong with it is noted."""
    place = f"{source.kind} {source.path or ', '.join(source.images)}".strip()
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
        shards = sorted(base.glob(source.path or "")) if "*" in (source.path or "") else [path]
        return read_shards(shards, root=base, problems=problems, classes=classes)
    images, texts = ([base / one for one in files] for files in (source.images, source.texts))
    labels = None if source.labels is None else base / source.labels
    return read_tsv(images, texts, label_file=labels, root=base, problems=problems, classes=classes)


def _split_rest(table: Table, fractions: Mapping[str, float], seed: int) -> Table:
    drawn = split_by_patient(table, fractions, seed=seed)
    samples = tuple(
        sample if sample.split else other for sample, other in zip(table.samples, drawn.samples, strict=True)
    )
    return Table(samples=samples, root=table.root)
