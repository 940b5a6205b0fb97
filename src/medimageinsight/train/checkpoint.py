"""The state of a run on disk, for resuming it exactly. Safetensors: no pickle."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.train.config import TrainConfig

STATE = "state.safetensors"


def has_state(folder: Path) -> bool:
    """Whether a run can be resumed from the folder."""
    return (folder / STATE).exists()


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    progress: Mapping[str, Any],
) -> None:
    """Replaces the saved state by a newer one; the old one stays until the new one is whole on disk."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    names = _names(model, optimizer)
    for index, state in optimizer.state_dict()["state"].items():  # none for what was frozen from the start
        tensors |= {f"optimizer.{names[index]}.{key}": value for key, value in state.items()}
    partial = folder / f"{STATE}.partial"
    try:
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, partial, {"progress": json.dumps(progress)}
        )
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(folder / STATE)
    finally:
        partial.unlink(missing_ok=True)


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]
) -> dict[str, Any]:
    """Puts the saved state into the three and returns the progress saved with it.

    Raises:
        CheckpointError: The file is damaged or of another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / STATE, framework="pt") as file:
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        model.load_state_dict({name: tensors[f"model.{name}"] for name in model.state_dict()})
        for name, value in average.items():
            value.copy_(tensors[f"average.{name}"])
        state = optimizer.state_dict()
        keys = ("step", "exp_avg", "exp_avg_sq")
        state["state"] = {
            index: {key: tensors[f"optimizer.{name}.{key}"] for key in keys}
            for index, name in enumerate(_names(model, optimizer))
            if f"optimizer.{name}.step" in tensors
        }
        optimizer.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"the run's saved state does not fit its config ({type(error).__name__}): start again in a new folder",
            code="checkpoint_state_mismatch",
        ) from None
    return progress


def save_model(
    folder: Path,
    config: TrainConfig,
    model: nn.Module,
    preprocessing: Preprocessing,
    tokenizer_file: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a finished model: weights, what they are, and the tokenizer. `mi2 convert` reads this folder."""
    from safetensors.torch import save_file

    description = {
        "name": config.name,
        "description": config.description,
        "architecture": config.model.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "provenance": {"licence": config.licence, "seed": config.seed, **provenance},
    }
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial / "model.safetensors")
    (partial / "model.json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")
    shutil.copyfile(tokenizer_file, partial / "tokenizer.json")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Parameter names in the order in which the optimizer numbers them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
