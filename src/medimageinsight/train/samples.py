"""Read the samples of a run's config, assign splits, check them, and name their labels. Works without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets import (
    Problems,
    Table,
    assign_missing_splits,
    check_table,
    join_tables,
    read_azureml,
    read_sources,
    read_table,
)
from medimageinsight.datasets.azureml import TRAIN, VALIDATION
from medimageinsight.errors import DatasetError
from medimageinsight.train.azureml_settings import azureml_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.train.config import DataConfig


def read_samples(
    data: DataConfig,
    base: Path,
    *,
    check: bool,
    log: Callable[[str], None],
    problems: Problems | None = None,
    unlabelled: Table | None = None,
) -> Table:
    """Read the samples of all splits; paths are relative to the folder `base`.

    With ``check``, also look at every image, and for leaks between splits; ``unlabelled`` images are checked with them.
    If given, ``problems`` collects the problems, and the valid samples, possibly none, are returned.

    Raises:
        DatasetProblems: All problems in one list, if ``problems`` is not given.
    """
    found = Problems() if problems is None else problems
    table = _assign_splits(_leave_out(_read(data, base, found, log), data.leave_out, found), data, found, log)
    if check:
        cache = data.checks.cache
        checked = check_table(
            table if unlabelled is None else join_tables([table, unlabelled]),
            settings=replace(data.checks, cache=None if cache is None else str(base / cache)),
            problems=found,
        )
        for pair in checked.near:
            log(f"look alike in {pair.splits[0]} and {pair.splits[1]}: {pair.a}, {pair.b}")
    if problems is None:
        found.raise_any()
    return table


def _read(data: DataConfig, base: Path, problems: Problems, log: Callable[[str], None]) -> Table:
    if data.sources:
        return read_sources(data.sources, base, problems=problems)
    if data.table is not None:
        try:
            return read_table(base / data.table)
        except DatasetError as error:
            problems.add("table_invalid", "data.table", error.message)
            return Table(samples=(), root=base)
    assert data.original is not None  # noqa: S101 - `config_file` requires one of the three
    config, table = read_azureml(
        base / data.original.config, files=azureml_files(data.original, base), problems=problems
    )
    if config.unused:
        reasons: dict[str, list[str]] = {}
        for key, reason in config.unused.items():
            reasons.setdefault(reason, []).append(key)
        grouped = "; ".join(f"{', '.join(keys)} ({reason})" for reason, keys in reasons.items())
        log(f"{Path(data.original.config).name}: {len(config.unused)} keys are ignored: {grouped}")
    if not data.splits or VALIDATION in table.splits:
        return table
    # Without evaluation files, a validation split can be drawn from the training images.
    samples = (replace(sample, split="") if sample.split == TRAIN else sample for sample in table)
    return replace(table, samples=tuple(samples))


def _leave_out(table: Table, sources: tuple[str, ...], problems: Problems) -> Table:
    present = {sample.source for sample in table.samples}
    for name in sources:
        if name not in present:
            problems.add("config_value_invalid", "data.leave_out", f"there is no source {name!r}")
    remaining = tuple(sample for sample in table.samples if sample.source not in sources)
    return replace(table, samples=remaining) if sources else table


def _assign_splits(table: Table, data: DataConfig, problems: Problems, log: Callable[[str], None]) -> Table:
    """Draw the splits of the config, before the check for leaks between splits."""
    if data.splits:
        try:
            table = assign_missing_splits(table, data.splits, seed=data.split_seed)
        except DatasetError as error:
            problems.add("config_value_invalid", "data.splits", error.message)
    elif count := table.splits.get("", 0):
        log(f"{count:,} images have no split and are not used; data.splits would assign one")
    return table


class LabelNames:
    """Label names that are unique over sources: "source: label" if there are several sources.

    Attributes:
        labels: The label names of the samples, sorted.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._several_sources = len({sample.source for sample in samples}) > 1
        self.labels = tuple(sorted({self.name(sample) for sample in samples}))

    def name(self, sample: Sample) -> str:
        """Return the name of a sample's label, which need not be one of ``labels``."""
        return f"{sample.source}: {sample.label}" if self._several_sources else sample.label
