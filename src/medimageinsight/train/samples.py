"""From a run's config to its samples: read, checked, split. No PyTorch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets import (
    OriginalFiles,
    Problems,
    Table,
    check_table,
    read_original,
    read_sources,
    read_table,
    split_by_patient,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.train.config import DataConfig, OriginalData


def read_samples(data: DataConfig, base: Path, seed: int, *, check: bool, log: Callable[[str], None]) -> Table:
    """All samples of all splits.

    Args:
        data: Where they are and what is checked.
        base: The folder that paths start from.
        seed: Of the split by patient.
        check: Look at every picture and for leaks between splits.
        log: Takes what is worth knowing, one line at a time.

    Raises:
        DatasetError: Something is wrong; where it can be known beforehand, everything that is, in one list.
    """
    problems = Problems()
    if data.original is not None:
        table = _read_original(data.original, base, problems, log)
    elif data.sources:
        table = read_sources(data.sources, base, problems=problems)
    else:
        table = read_table(base / (data.table or ""))
    table = _leave_out(table, data.leave_out, problems)
    if check:
        cache = data.checks.cache
        checked = check_table(
            table,
            settings=replace(data.checks, cache=None if cache is None else str(base / cache)),
            problems=problems,
        )
        for pair in checked.near:
            log(f"look alike in {pair.splits[0]} and {pair.splits[1]}: {pair.a}, {pair.b}")
    problems.raise_any()
    return _split_rest(table, data.splits, seed)


def _read_original(original: OriginalData, base: Path, problems: Problems, log: Callable[[str], None]) -> Table:
    def place(name: str | None) -> Path | None:
        return None if name is None else base / name

    files = OriginalFiles(
        image_tsv=place(original.image_tsv),
        text_tsv=place(original.text_tsv),
        eval_image_tsv=place(original.eval_image_tsv),
        eval_text_tsv=place(original.eval_text_tsv),
        label_file=place(original.label_file),
    )
    asked, table = read_original(base / original.config, files=files, problems=problems)
    for key, reason in asked.unused.items():
        log(f"{Path(original.config).name}: {key} is left alone: {reason}")
    return table


def _leave_out(table: Table, sources: tuple[str, ...], problems: Problems) -> Table:
    present = {sample.source for sample in table.samples}
    for name in sources:
        if name not in present:
            problems.add("config_value_invalid", "data.leave_out", f"there is no source {name!r}")
    kept = tuple(sample for sample in table.samples if sample.source not in sources)
    return replace(table, samples=kept) if sources else table


def _split_rest(table: Table, shares: dict[str, float], seed: int) -> Table:
    """Samples without a split get one, by patient."""
    if not shares:
        return table
    split = split_by_patient(table, shares, seed=seed)
    pairs = zip(table.samples, split.samples, strict=True)
    return Table(samples=tuple(own if own.split else drawn for own, drawn in pairs), root=table.root)
