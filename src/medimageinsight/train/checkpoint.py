"""The state of a run on disk, for resuming it exactly, and the model that it leaves. Safetensors: no pickle.

What a step draws depends on the seed and the step alone, so no generator's state is kept: the number of steps done is
the sampler's position and the state of chance.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError
from medimageinsight.files.atomic import replace_file, replace_folder
from medimageinsight.train.distributed import sharded_as, whole
from medimageinsight.train.head import HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from medimageinsight.train.head import LabelHead

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
    *,
    write: bool = True,
) -> None:
    """Replaces the saved state by a newer one; the old one stays until the new one is whole on disk.

    Weights that are never learned are not in it: they are the start's. All processes call, for each may hold a part of
    a tensor, and the one with ``write`` writes.

    Raises:
        CheckpointError: The disk is full (``checkpoint_not_saved``).
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        complete = whole(value)
        if write:
            tensors[name] = complete.cpu().contiguous()

    for name, parameter in model.named_parameters():
        if name in average:
            keep(f"model.{name}", parameter)
    for name, value in average.items():
        keep(f"average.{name}", value)
    names = _names(model, optimizer)
    for index, state in optimizer.state_dict()["state"].items():  # none for what was frozen from the start
        for key, value in state.items():
            keep(f"optimizer.{names[index]}.{key}", value)
    if write:
        with replace_file(folder / STATE) as partial:
            save_file(tensors, partial, {"progress": json.dumps(progress)})


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Puts the saved state into the three and returns the progress saved with it.

    Raises:
        CheckpointError: The file is damaged or of another network.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / STATE, framework="pt") as file, torch.no_grad():
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
            known = set(file.keys())
            parameters = dict(model.named_parameters())
            for name, value in average.items():
                parameters[name].copy_(_as(file.get_tensor(f"model.{name}"), parameters[name]))
                value.copy_(_as(file.get_tensor(f"average.{name}"), value))
            state = optimizer.state_dict()
            state["state"] = {
                index: {
                    "step": file.get_tensor(f"optimizer.{name}.step"),
                    "exp_avg": _as(file.get_tensor(f"optimizer.{name}.exp_avg"), parameters[name]),
                    "exp_avg_sq": _as(file.get_tensor(f"optimizer.{name}.exp_avg_sq"), parameters[name]),
                }
                for index, name in enumerate(_names(model, optimizer))
                if f"optimizer.{name}.step" in known
            }
        optimizer.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"the run's saved state does not fit its config ({type(error).__name__}): start again in a new folder",
            code="checkpoint_state_mismatch",
        ) from None
    return progress


def save_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    description: Mapping[str, Any],
    tokenizer_file: Path,
    head: LabelHead | None = None,
) -> None:
    """Writes a finished model: weights, what they are, and the tokenizer. `mi2 convert` reads this folder.

    A head's weight (D, labels), bias and labels go to ``head.json`` beside them.

    Raises:
        CheckpointError: The disk is full (``checkpoint_not_saved``); a model that was there stays.
    """
    from safetensors.torch import save_file

    with replace_folder(folder) as partial:
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, partial / "model.safetensors")
        (partial / "model.json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")
        shutil.copyfile(tokenizer_file, partial / "tokenizer.json")
        if head is not None:
            (partial / HEAD).write_text(json.dumps(head.to_dict()) + "\n", "utf-8")


def _as(value: Tensor, like: Tensor) -> Tensor:
    if value.shape != like.shape:
        raise ValueError("another shape")
    return sharded_as(value, like)


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Parameter names in the order in which the optimizer numbers them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
