"""From a run's config to its samples: read, left out, split, checked. No PyTorch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets import (
    Problems,
    Table,
    check_table,
    read_original,
    read_sources,
    read_table,
    split_rest,
)
from medimageinsight.errors import DatasetError
from medimageinsight.train.azureml_settings import original_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.train.config import DataConfig


def read_samples(
    data: DataConfig, base: Path, *, check: bool, log: Callable[[str], None], problems: Problems | None = None
) -> Table:
    """All samples of all splits.

    Args:
        data: Where they are and what is checked.
        base: The folder that paths start from.
        check: Look at every picture and for leaks between splits.
        log: Takes what is worth knowing, one line at a time.
        problems: Collects what is wrong, and the good samples are returned, which may be none.

    Raises:
        DatasetProblems: Something is wrong, all of it in one list, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    table = _split(_leave_out(_read(data, base, found, log), data.leave_out, found), data, found, log)
    if check:
        cache = data.checks.cache
        checked = check_table(
            table,
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
    assert data.original is not None  # noqa: S101 - `read_run` holds that there is one of the three
    asked, table = read_original(
        base / data.original.config, files=original_files(data.original, base), problems=problems
    )
    for key, reason in asked.unused.items():
        log(f"{Path(data.original.config).name}: {key} is left alone: {reason}")
    # Without files for an evaluation, the validation set is drawn from the training set where the config asks for one.
    return table.as_split("") if data.splits and len(table.splits) == 1 else table


def _leave_out(table: Table, sources: tuple[str, ...], problems: Problems) -> Table:
    present = {sample.source for sample in table.samples}
    for name in sources:
        if name not in present:
            problems.add("config_value_invalid", "data.leave_out", f"there is no source {name!r}")
    kept = tuple(sample for sample in table.samples if sample.source not in sources)
    return replace(table, samples=kept) if sources else table


def _split(table: Table, data: DataConfig, problems: Problems, log: Callable[[str], None]) -> Table:
    """With the splits that the config draws, before anything looks for leaks between them."""
    if data.splits:
        try:
            table = split_rest(table, data.splits, seed=data.split_seed)
        except DatasetError as error:
            problems.add("config_value_invalid", "data.splits", error.message)
    elif without := table.splits.get("", 0):
        log(f"{without:,} pictures have no split and are not used; data.splits would draw one")
    return table
