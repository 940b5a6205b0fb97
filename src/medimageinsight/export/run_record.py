"""The record that a training run leaves in its folder, for a model card."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError
from medimageinsight.files.yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG, CURVE = "config.yaml", "curve.csv"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The config of a run, and its curve: one row per validation, empty if the run has none."""

    config: Mapping[str, Any]
    curve: tuple[dict[str, str], ...]


def read_run_record(folder: str | Path) -> RunRecord:
    """Read a run's folder without its weights.

    Raises:
        ConfigError: The folder has no readable ``config.yaml`` (``run_not_found``).
        MissingExtraError: PyYAML is not installed.
    """
    try:
        data = read_yaml(Path(folder) / CONFIG)
    except ConfigError:
        data = None
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected a run's folder with a readable {CONFIG}, got a folder without it: name the folder of mi2 train",
            code="run_not_found",
        )
    curve = Path(folder) / CURVE
    rows: list[dict[str, str]] = []
    if curve.is_file():
        with curve.open(newline="", encoding="utf-8") as file:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]
    return RunRecord(config=data, curve=tuple(rows))
