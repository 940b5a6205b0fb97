"""What a training run left of itself in its folder, read for a model card."""

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
    """A run's config as it was given, and its curve: one row a validation, empty where there is none."""

    config: Mapping[str, Any]
    curve: tuple[dict[str, str], ...]


def read_run_record(folder: str | Path) -> RunRecord:
    """Reads a run's folder; the weights are not touched.

    Raises:
        ConfigError: There is no ``config.yaml``, or it cannot be read (``run_not_found``).
        MissingExtraError: Without PyYAML.
    """
    try:
        data = read_yaml(Path(folder) / CONFIG)
    except ConfigError:
        data = None
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected a run's folder with a readable {CONFIG}, there is none: name the folder of mi2 train",
            code="run_not_found",
        )
    curve = Path(folder) / CURVE
    rows: list[dict[str, str]] = []
    if curve.is_file():
        with curve.open(newline="", encoding="utf-8") as file:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]
    return RunRecord(config=data, curve=tuple(rows))
