"""The state of a run on disk, to resume it exactly, and the models that a run saves. Safetensors: no pickle.

The random numbers of a step depend only on the seed and the step, so no generator state is saved: the number of
completed steps determines the sampler's position and the random state.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError
from medimageinsight.train.distributed import full_tensor, shard_like
from medimageinsight.train.ema import changing_tensors
from medimageinsight.train.head import HEAD
from medimageinsight.train.run_files import replace_file, replace_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from medimageinsight.train.head import LabelHead

STATE = "state.safetensors"  # its presence means that the run can be resumed


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    progress: Mapping[str, Any],
    *,
    write: bool = True,
) -> None:
    """Replace the saved state by a newer one; the old one remains until the new one is complete on disk.

    Frozen weights are not saved: they are those of the initial model. All processes must call this, since each may hold
    a part of a tensor; the process with ``write`` writes.

    Raises:
        CheckpointError: The disk is full (``checkpoint_not_saved``).
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        complete = full_tensor(value)
        if write:
            tensors[name] = complete.cpu().contiguous()

    for name, tensor in changing_tensors(model, set(average)).items():
        add(f"model.{name}", tensor)
    for name, value in average.items():
        add(f"average.{name}", value)
    names = _parameter_names(model, optimizer)
    for index, state in optimizer.state_dict()["state"].items():  # none for parameters frozen so far
        for key, value in state.items():
            add(f"optimizer.{names[index]}.{key}", value)
    if write:
        with replace_file(folder / STATE) as partial:
            save_file(tensors, partial, {"progress": json.dumps(progress)})


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Load the saved state into model, optimizer and average, and return the progress saved with it.

    Raises:
        CheckpointError: The file is damaged or of another network (``checkpoint_state_mismatch``).
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / STATE, framework="pt") as file, torch.no_grad():
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
            saved = set(file.keys())
            parameters = dict(model.named_parameters())
            current = changing_tensors(model, set(average))
            for name, value in average.items():
                current[name].copy_(_matching(file.get_tensor(f"model.{name}"), current[name]))
                value.copy_(_matching(file.get_tensor(f"average.{name}"), value))
            state = optimizer.state_dict()
            state["state"] = {
                index: {
                    "step": file.get_tensor(f"optimizer.{name}.step"),
                    "exp_avg": _matching(file.get_tensor(f"optimizer.{name}.exp_avg"), parameters[name]),
                    "exp_avg_sq": _matching(file.get_tensor(f"optimizer.{name}.exp_avg_sq"), parameters[name]),
                }
                for index, name in enumerate(_parameter_names(model, optimizer))
                if f"optimizer.{name}.step" in saved
            }
        optimizer.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"expected a saved state that matches the run's config, got one that does not ({type(error).__name__}): "
            "start again in a new folder",
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
    """Write a finished model: weights, description and tokenizer. `mi2 convert` reads this folder.

    A head's weight (D, labels), bias and labels are written to ``head.json`` in the same folder.

    Raises:
        CheckpointError: The disk is full (``checkpoint_not_saved``); the earlier model remains.
    """
    from safetensors.torch import save_file

    with replace_folder(folder) as partial:
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, partial / "model.safetensors")
        (partial / "model.json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")
        shutil.copyfile(tokenizer_file, partial / "tokenizer.json")
        if head is not None:
            (partial / HEAD).write_text(json.dumps(head.to_dict()) + "\n", "utf-8")


def _matching(value: Tensor, like: Tensor) -> Tensor:
    if value.shape != like.shape:
        raise ValueError(f"expected shape {tuple(like.shape)}, got {tuple(value.shape)}")
    return shard_like(value, like)


def _parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the names of the parameters in the optimizer's order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
