"""What a run says about itself: ``run.json``, and where its model comes from."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.engine.machine import describe_machine
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.files.atomic import replace_file
from medimageinsight.train.config_file import config_text

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.datasets import Table
    from medimageinsight.train.config import RunConfig
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.start import Start

RUN = "run.json"
CONFIG = "config.yaml"
# What else a run, and the command that converts its model, write into its folder.
WRITTEN = (
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
_CLAIMED = {"begun": False}
_LIBRARIES = ("safetensors", "tokenizers", "pillow", "pydicom")
_NOT_THE_RUN = ("parallel",)  # may change between two calls of one run


def check_begun(config: RunConfig, folder: Path, table: Table) -> bool:
    """Whether the folder holds a run, which has to be this one; else it is made this run's own.

    Raises:
        ConfigError: It holds no run, but files that one would replace (``out_in_use``).
        ConfigError: It is of another config, apart from how the work is laid on the machine (``config_changed``), or of
            other pictures, texts or splits (``data_changed``).
    """
    if not (folder / RUN).exists():
        _claim(folder)
        return False
    try:
        record = json.loads((folder / RUN).read_text("utf-8"))
        if record == _CLAIMED:  # what was written into it is of a run that never began
            return False
        earlier = strict.build(type(config), record["config"], "config")  # with the defaults of keys that came later
        same = _of_the_run(resolved(earlier)) == _of_the_run(resolved(config))
    except (KeyError, TypeError, ValueError):
        record, same = {}, False
    if not same:
        raise ConfigError(
            "the run's folder holds a run of another config: choose a new folder, or go on with the config in it",
            code="config_changed",
        )
    if record.get("data", {}).get("sha256", digest := digest_of(table)) != digest:
        raise ConfigError(
            "the run was begun with other pictures, texts or splits: choose a new folder, or bring the data back",
            code="data_changed",
        )
    return True


def _claim(folder: Path) -> None:
    """Says that what a run writes into the folder may be replaced by a run."""
    if others := [name for name in WRITTEN if (folder / name).exists()]:
        raise ConfigError(
            f"expected a new folder or one of a run, got one with {', '.join(others)} of something else: name another",
            code="out_in_use",
        )
    with replace_file(folder / RUN) as partial:
        partial.write_text(json.dumps(_CLAIMED) + "\n", "utf-8")


def keep_record(
    config: RunConfig, config_path: Path, folder: Path, start: Start, table: Table, processes: Processes
) -> None:
    """Writes the config as given, and ``run.json``: with every default, seed, versions, machine, data and parents."""
    with replace_file(folder / CONFIG) as partial:
        partial.write_text(config_text(config_path), "utf-8")
    record = {
        "name": config.name,
        "seed": config.seed,
        "config": resolved(config),
        "versions": {name: found for name in _LIBRARIES if (found := _version(name))},
        "environment": environment(processes),
        "data": describe_data(table),
        "parameters": {
            "all": sum(one.numel() for one in start.model.parameters()),
            "learned": sum(one.numel() for name, one in start.model.named_parameters() if name in start.trained),
        },
        "parents": start.parents,
    }
    with replace_file(folder / RUN) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def describe_model(config: RunConfig, start: Start, table: Table, **figures: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """``model.json`` of a finished model: how to build and feed it, and its line of descent."""
    return {
        "name": config.name,
        "description": config.description,
        "architecture": start.architecture.to_dict(),
        "preprocessing": start.preprocessing.to_dict(),
        "scoring_preprocessing": start.scoring_preprocessing,
        "provenance": {
            "licence": config.licence,
            "seed": config.seed,
            **figures,
            "objective": config.objective,
            "pictures": len(table.of_split(config.data.train_split)),
            "parents": start.parents,
        },
    }


def resolved(config: RunConfig) -> dict[str, Any]:
    """The config as plain JSON values, defaults included."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def environment(processes: Processes) -> dict[str, Any]:
    """The machine and how it was used."""
    gpu = processes.device.type == "cuda"
    return {
        **describe_machine(torch.get_num_threads(), "cuda" if gpu else "cpu"),
        "processes": processes.world,
        "nodes": processes.world // int(os.environ.get("LOCAL_WORLD_SIZE", processes.world)),
        **({"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if gpu else {}),
    }


def describe_data(table: Table) -> dict[str, Any]:
    """Pictures by split, and of each split by source; no ids, no paths, but a checksum of them all."""
    sources: dict[str, dict[str, int]] = {}
    for sample in table:
        of_split = sources.setdefault(sample.split or "(none)", {})
        of_split[sample.source or "(none)"] = of_split.get(sample.source or "(none)", 0) + 1
    return {"splits": table.splits, "sources": sources, "sha256": digest_of(table)}


def digest_of(table: Table) -> str:
    """Of what a run is told of its pictures, in order: names, texts, labels, splits; not of the pixels."""
    digest = hashlib.sha256()
    for name, one in zip(table.ids, table, strict=True):
        told = (name, one.source, one.split, one.label, one.caption, one.modality, one.anatomy, one.view, one.finding)
        digest.update(json.dumps(told).encode())
    return digest.hexdigest()


def _of_the_run(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NOT_THE_RUN}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
