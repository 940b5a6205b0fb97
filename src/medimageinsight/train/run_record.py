"""The record of a run, ``run.json``, and the provenance of its model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.engine import describe_machine
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.train.config_file import config_text
from medimageinsight.train.run_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medimageinsight.datasets import Table
    from medimageinsight.train.config import RunConfig
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.initialization import InitialModel

RUN = "run.json"
CONFIG = "config.yaml"
# Other files that a run, or the conversion of its model, writes into its folder.
WRITTEN_FILES = (
    CONFIG,
    "tokenizer.json",
    "curve.csv",
    "curve.png",
    "speed.csv",
    "state.safetensors",
    "best",
    "last",
    "bundle",
    "adapter.json",
)
_CLAIMED = {"begun": False}  # ``run.json`` before the first step
_DIGESTED = ("source", "split", "label", "caption", "modality", "anatomy", "view", "finding")


def check_folder(config: RunConfig, folder: Path, table: Table, inputs: Mapping[str, str]) -> bool:
    """Return True if the folder contains this run; reserve a folder without a run for it.

    ``inputs`` describes further files that a run learns from.

    Raises:
        ConfigError: The folder contains files that a run would replace, but no run (``out_in_use``), or a run with
            another config apart from ``parallel`` (``config_changed``) or of other images, texts, splits or targets
            (``data_changed``).
    """
    if not (folder / RUN).exists():
        _reserve(folder)
        return False
    try:
        record = json.loads((folder / RUN).read_text("utf-8"))
        if record == _CLAIMED:  # its files are of a run that never began
            return False
        earlier = strict.build(type(config), record["config"], "config")  # adds defaults of newer keys
        before, now = resolved(earlier), resolved(config)
        changed = ", ".join(key for key in before if key != "parallel" and before[key] != now[key])
    except (KeyError, TypeError, ValueError):
        record, changed = {}, "everything, as its run.json is not readable"
    if changed:
        raise ConfigError(
            f"expected the config that the run in this folder began with, got a change of {changed}: choose a new "
            "folder, or resume with the config in it",
            code="config_changed",
        )
    if record.get("data", {}).get("sha256", digest := table_digest(table)) != digest:
        raise ConfigError(
            "expected the data that the run began with, got other images, texts or splits: choose a new folder, or "
            "restore the data",
            code="data_changed",
        )
    if record.get("inputs", {}) != inputs:
        raise ConfigError(
            "expected the targets and free texts that the run began with, got other ones: choose a new folder, or "
            "restore the files",
            code="data_changed",
        )
    return True


def _reserve(folder: Path) -> None:
    """Write a ``run.json`` which shows that the folder belongs to a run."""
    if names := [name for name in WRITTEN_FILES if (folder / name).exists()]:
        raise ConfigError(
            f"expected a new folder or that of a run, got one with {', '.join(names)} but no run.json: name another",
            code="out_in_use",
        )
    with replace_file(folder / RUN) as partial:
        partial.write_text(json.dumps(_CLAIMED) + "\n", "utf-8")


def write_record(
    config: RunConfig,
    config_path: Path,
    folder: Path,
    initial: InitialModel,
    table: Table,
    processes: Processes,
    inputs: Mapping[str, str],
) -> None:
    """Write the config as given, and ``run.json``: config with defaults, seed, versions, machine, data and parents."""
    with replace_file(folder / CONFIG) as partial:
        partial.write_text(config_text(config_path), "utf-8")
    versions = {}
    for name in ("safetensors", "tokenizers", "pillow", "pydicom"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    gpu = processes.device.type == "cuda"
    sources: dict[str, dict[str, int]] = {}  # number of images by split and source
    for sample in table:
        counts = sources.setdefault(sample.split or "(none)", {})
        counts[sample.source or "(none)"] = counts.get(sample.source or "(none)", 0) + 1
    record = {
        "name": config.name,
        "seed": config.seed,
        "config": resolved(config),
        "versions": versions,
        "environment": {
            **describe_machine(torch.get_num_threads(), "cuda" if gpu else "cpu"),
            "processes": processes.world_size,
            "nodes": processes.world_size // int(os.environ.get("LOCAL_WORLD_SIZE", processes.world_size)),
            **({"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if gpu else {}),
        },
        "data": {"splits": table.splits, "sources": sources, "sha256": table_digest(table)},
        "parameters": {
            "all": sum(parameter.numel() for parameter in initial.network.parameters()),
            "learned": sum(
                parameter.numel() for name, parameter in initial.network.named_parameters() if name in initial.trained
            ),
        },
        "parents": initial.parents,
        "inputs": inputs,
    }
    with replace_file(folder / RUN) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


MAX_LABELS = 1000  # of a description; more are texts rather than labels
MAX_WORDS = 40_000  # of a description, which is small; a model of more knows nearly every word


def describe_model(config: RunConfig, initial: InitialModel, table: Table, **figures: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the content of ``model.json``: architecture, preprocessing and provenance of a finished model."""
    return {
        "name": config.name,
        "description": config.description,
        "architecture": initial.architecture.to_dict(),
        "preprocessing": initial.preprocessing.to_dict(),
        "scoring_preprocessing": initial.scoring_preprocessing,
        "provenance": {
            "licence": config.licence,
            "seed": config.seed,
            **figures,
            "objective": config.objective,
            "pictures": len(table.of_split(config.data.train_split)),
            "parents": initial.parents,
        }
        | _labels_of(config, table),
    } | ({"words": initial.words} if 0 < len(initial.words) <= MAX_WORDS else {})


def _labels_of(config: RunConfig, table: Table) -> dict[str, list[str]]:
    """Return the labels of the training images, sorted, if every image has one of two or more."""
    labels = {sample.label for sample in table.of_split(config.data.train_split)}
    return {"labels": sorted(labels)} if all(labels) and 1 < len(labels) <= MAX_LABELS else {}


def resolved(config: RunConfig) -> dict[str, Any]:
    """Return the config as JSON values, including defaults."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def table_digest(table: Table) -> str:
    """Return the SHA-256 of the ids, texts, labels and splits of all samples in order; pixels are not included."""
    digest = hashlib.sha256()
    for sample_id, sample in zip(table.ids, table, strict=True):
        row = (sample_id, *(getattr(sample, name) for name in _DIGESTED))
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
