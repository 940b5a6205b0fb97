"""Checkpoint weights: safetensors, whose tensors may have any of three naming schemes, loaded strictly.

Nothing is unpickled: a file whose content is not safetensors is refused, whatever its extension is.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medimageinsight.errors import CheckpointError, missing_extra
from medimageinsight.network.model import UniCLModel
from medimageinsight.network.weights_files import list_weights_files, refuse_other_formats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medimageinsight.network.config import ModelConfig

POSITIONS = "lang_encoder.positional_embedding"
MAX_NAMES_SHOWN = 3  # in an error message, which counts the rest

# The dtypes that are converted to float32; integer and 8-bit weights belong to quantised models.
_FLOAT_TYPES = ("F64", "F32", "F16", "BF16")

# Added to names by wrappers around the network or a part of it: DistributedDataParallel, torch.compile, FSDP, and
# activation checkpointing.
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

_ENCODER_PREFIXES = {
    "visual.": "image_encoder.",
    "text.": "lang_encoder.",
    "vision_projection": "image_projection",
    "text_projection": "lang_projection",
}
_IMAGE_PREFIXES = {"conv_embeds.": "convs.", "main_blocks.": "blocks."}
_BLOCK = re.compile(r"(image_encoder\.blocks\.\d+\.\d+)\.([01])\.(.+)")
_BLOCK_KINDS = {"0": ("spatial_block", "window_attn"), "1": ("channel_block", "channel_attn")}
_BLOCK_PREFIXES = {
    "cpe.0.proj.": "conv1.fn.dw.",
    "cpe.1.proj.": "conv2.fn.dw.",
    "norm2.": "ffn.norm.",
    "mlp.": "ffn.fn.net.",
}


def canonical_name(key: str) -> str:
    """Return the network's name of a tensor that a checkpoint may name in three ways, each below wrappers.

    ::

        canonical_name("module.visual.main_blocks.2.4.1.attn.qkv.weight")
        # "image_encoder.blocks.2.4.channel_block.channel_attn.fn.qkv.weight"

    Canonical and unknown names are returned unchanged.
    """

    def replace_prefix(name: str, prefixes: dict[str, str]) -> str:
        old = next(filter(name.startswith, prefixes), "")
        return prefixes[old] + name.removeprefix(old) if old else name

    name = replace_prefix(_WRAPPERS.sub("", key), _ENCODER_PREFIXES)
    if name.startswith("image_encoder."):
        name = "image_encoder." + replace_prefix(name.removeprefix("image_encoder."), _IMAGE_PREFIXES)
    if match := _BLOCK.fullmatch(name):
        block, kind, rest = match.groups()
        kind_name, attention = _BLOCK_KINDS[kind]
        prefixes = _BLOCK_PREFIXES | {"attn.": f"{attention}.fn.", "norm1.": f"{attention}.norm."}
        name = f"{block}.{kind_name}.{replace_prefix(rest, prefixes)}"
    return name


def read_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Read the canonical names and the shapes of a checkpoint's tensors from the headers of its files.

    Raises:
        CheckpointError: As `load_state_dict`, as far as the headers show it.
    """
    with _open_weights(weights) as tensors:
        return {name: tuple(tensor.slice.get_shape()) for name, tensor in tensors.items()}


def load_state_dict(weights: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Load every tensor of the network that `config` describes, as float32 and under the network's names.

    `weights` is a safetensors file or an index of shards. float32 tensors stay memory-mapped; other float types are
    converted. Text positions of a different length are resized linearly, as the original does; `read_shapes` gives the
    stored length.

    Raises:
        CheckpointError: A file is not safetensors (``checkpoint_unreadable``; ``checkpoint_is_pickle`` for a pickle,
            ``checkpoint_is_pointer`` for a Git LFS pointer), a shard is missing (``checkpoint_not_found``), or tensors
            are missing, unknown, named twice, of a wrong shape or type, or not finite (``checkpoint_mismatch``). The
            message names them.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in create_meta_model(config).state_dict().items()}
    with _open_weights(weights) as stored:
        _check_names(stored, expected)
        _check_tensors(stored, expected)
        tensors = {name: tensor.load().to(torch.float32) for name, tensor in stored.items()}
    if not_finite := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise _mismatch("expected finite weights", f"NaN or infinity in {_list_names(not_finite)}")
    positions, length = tensors[POSITIONS], config.text.context_length
    if len(positions) != length:  # linearly between half-pixel centres
        resized = F.interpolate(positions.T[None], size=length, mode="linear", align_corners=False)
        tensors[POSITIONS] = resized[0].T.contiguous()
    return tensors


def load_model(weights: Path, config: ModelConfig) -> UniCLModel:
    """Load the network with a checkpoint's weights: float32, on the CPU, in evaluation mode, gradients off.

    The weights are in memory once: the network is built on the meta device and takes the mapped tensors.

    Raises:
        CheckpointError: As `load_state_dict`.
    """
    model = create_meta_model(config)
    model.load_state_dict(load_state_dict(weights, config), assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def create_meta_model(config: ModelConfig) -> UniCLModel:
    """Build the network on the meta device, which has names and shapes but no values."""
    with torch.device("meta"):
        return UniCLModel(config)


@dataclass(frozen=True, slots=True)
class _StoredTensor:
    """A tensor in an open safetensors file."""

    file: Any
    key: str

    @property
    def slice(self) -> Any:  # noqa: ANN401 (safetensors has no types)
        """Its shape and dtype; its values are not read."""
        return self.file.get_slice(self.key)

    def load(self) -> Tensor:
        """Return its values."""
        tensor: Tensor = self.file.get_tensor(self.key)
        return tensor


@contextlib.contextmanager
def _open_weights(weights: Path) -> Iterator[dict[str, _StoredTensor]]:
    """Open all files of the weights and yield their tensors by canonical name.

    Raises:
        CheckpointError: A file is not safetensors, the message names the actual format where it is known; or a tensor
            occurs twice.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise missing_extra("export", "reading a checkpoint") from None
    tensors: dict[str, _StoredTensor] = {}
    with contextlib.ExitStack() as stack:
        try:
            for path in list_weights_files(weights):
                refuse_other_formats(path)
                file = stack.enter_context(safe_open(str(path), framework="pt", device="cpu"))
                for key in file.keys():  # noqa: SIM118 (an open file is no mapping)
                    if (name := canonical_name(key)) in tensors:
                        raise _mismatch("expected each tensor once", f"two names of {_list_names([name])}")
                    tensors[name] = _StoredTensor(file, key)
            yield tensors
        except (SafetensorError, OSError, UnicodeError):
            raise CheckpointError(
                "expected a safetensors file, got one with an invalid header or size: download the checkpoint again",
                code="checkpoint_unreadable",
            ) from None


def _check_names(stored: dict[str, _StoredTensor], expected: dict[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in stored]
    unknown = [tensor.key for name, tensor in stored.items() if name not in expected]
    if missing and unknown:
        found = f"unknown {_list_names(unknown)}; missing {_list_names(missing)}"
        raise _mismatch("expected the network of the config", found)
    if missing:
        raise _mismatch("expected every tensor of the network", f"missing {_list_names(missing)}")
    if unknown:
        raise _mismatch("expected only tensors of the network", f"unknown {_list_names(unknown)}")


def _check_tensors(stored: dict[str, _StoredTensor], expected: dict[str, tuple[int, ...]]) -> None:
    wrong = []
    for name, shape in expected.items():
        found = tuple(stored[name].slice.get_shape())
        resizable = name == POSITIONS and len(found) == len(shape) and found[0] > 0 and found[1:] == shape[1:]
        if found != shape and not resizable:
            wrong.append(f"{name} {found} instead of {shape}")
    if wrong:
        raise _mismatch("expected the shapes of the config", _list_names(wrong))
    dtypes = {name: tensor.slice.get_dtype() for name, tensor in stored.items()}
    if wrong := [f"{name} {dtype}" for name, dtype in dtypes.items() if dtype not in _FLOAT_TYPES]:
        raise _mismatch(f"expected a float type ({', '.join(_FLOAT_TYPES)})", _list_names(wrong))


def _mismatch(expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{expected}, got {found}: check that checkpoint and config belong together",
        code="checkpoint_mismatch",
    )


def _list_names(names: list[str]) -> str:
    # Names of a hostile file may reach a terminal, so they are shortened and escaped.
    shown = ", ".join(name[:160].encode("unicode_escape").decode() for name in names[:MAX_NAMES_SHOWN])
    more = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
