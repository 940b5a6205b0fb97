"""Checkpoint weights: a safetensors file whose tensors may have any of three naming schemes, loaded strictly.

Nothing is unpickled: a file whose content is not safetensors is refused, whatever its extension is.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medimageinsight.errors import CheckpointError, missing_extra
from medimageinsight.network.model import UniCLModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from medimageinsight.network.config import ModelConfig

POSITIONS = "lang_encoder.positional_embedding"
MAX_NAMES_SHOWN = 3  # in an error message, which counts the rest

# The dtypes that are converted to float32; integer and 8-bit weights belong to quantised models.
_FLOAT_TYPES = ("F64", "F32", "F16", "BF16")

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
    """Return the network's name of a tensor that a checkpoint may name in three ways.

    ::

        canonical_name("visual.main_blocks.2.4.1.attn.qkv.weight")
        # "image_encoder.blocks.2.4.channel_block.channel_attn.fn.qkv.weight"

    Canonical and unknown names are returned unchanged.
    """

    def replace_prefix(name: str, prefixes: dict[str, str]) -> str:
        old = next(filter(name.startswith, prefixes), "")
        return prefixes[old] + name.removeprefix(old) if old else name

    name = replace_prefix(key, _ENCODER_PREFIXES)
    if name.startswith("image_encoder."):
        name = "image_encoder." + replace_prefix(name.removeprefix("image_encoder."), _IMAGE_PREFIXES)
    if match := _BLOCK.fullmatch(name):
        block, kind, rest = match.groups()
        kind_name, attention = _BLOCK_KINDS[kind]
        prefixes = _BLOCK_PREFIXES | {"attn.": f"{attention}.fn.", "norm1.": f"{attention}.norm."}
        name = f"{block}.{kind_name}.{replace_prefix(rest, prefixes)}"
    return name


def read_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Read the canonical names and the shapes of a checkpoint's tensors from its header.

    Raises:
        CheckpointError: As `load_state_dict`, as far as the header shows it.
    """
    with _open_safetensors(weights) as file:
        return {name: tuple(file.get_slice(key).get_shape()) for name, key in _canonical_keys(file.keys()).items()}


def load_state_dict(weights: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Load every tensor of the network that `config` describes, as float32 and under the network's names.

    float32 tensors stay memory-mapped; other float types are converted. Text positions of a different length are
    resized linearly, as the original does; `read_shapes` gives the stored length.

    Raises:
        CheckpointError: The file is not safetensors (``checkpoint_unreadable``; ``checkpoint_is_pickle`` for a pickle,
            ``checkpoint_is_pointer`` for a Git LFS pointer), or tensors are missing, unknown, named twice, of a wrong
            shape or type, or not finite (``checkpoint_mismatch``). The message names them.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in create_meta_model(config).state_dict().items()}
    with _open_safetensors(weights) as file:
        keys = _canonical_keys(file.keys())
        _check_names(keys, expected)
        _check_tensors({name: file.get_slice(key) for name, key in keys.items()}, expected)
        tensors = {name: file.get_tensor(key).to(torch.float32) for name, key in keys.items()}
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


@contextlib.contextmanager
def _open_safetensors(weights: Path) -> Iterator[Any]:
    """Open a safetensors file for reading.

    Raises:
        CheckpointError: It is not safetensors; the message names the actual format where it is known.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise missing_extra("export", "reading a checkpoint") from None
    _refuse_other_formats(weights)
    try:
        with safe_open(str(weights), framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, UnicodeError):
        raise CheckpointError(
            "expected a safetensors file, got one with an invalid header or size: download the checkpoint again",
            code="checkpoint_unreadable",
        ) from None


def _refuse_other_formats(weights: Path) -> None:
    try:
        with weights.open("rb") as file:
            start = file.read(64)
    except OSError:
        raise CheckpointError(
            "expected a readable checkpoint file, got one that cannot be opened", code="checkpoint_unreadable"
        ) from None
    # torch.save writes a zip archive; before PyTorch 1.6 it wrote a protocol 2 pickle.
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise CheckpointError(
            "expected a safetensors file, got a pickle, which can run any code when it is read: "
            "if you trust it, save its tensors with safetensors and convert that file",
            code="checkpoint_is_pickle",
        )
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "expected a safetensors file, got a Git LFS pointer: run git lfs pull",
            code="checkpoint_is_pointer",
        )


def _canonical_keys(stored: Iterable[str]) -> dict[str, str]:
    """Map each canonical name to the file's own name."""
    keys: dict[str, str] = {}
    for key in stored:
        name = canonical_name(key)
        if name in keys:
            raise _mismatch("expected each tensor once", f"two names of {_list_names([name])}")
        keys[name] = key
    return keys


def _check_names(keys: dict[str, str], expected: dict[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in keys]
    unknown = [key for name, key in keys.items() if name not in expected]
    if missing and unknown:
        found = f"unknown {_list_names(unknown)}; missing {_list_names(missing)}"
        raise _mismatch("expected the network of the config", found)
    if missing:
        raise _mismatch("expected every tensor of the network", f"missing {_list_names(missing)}")
    if unknown:
        raise _mismatch("expected only tensors of the network", f"unknown {_list_names(unknown)}")


def _check_tensors(slices: dict[str, Any], expected: dict[str, tuple[int, ...]]) -> None:
    wrong = []
    for name, shape in expected.items():
        stored = tuple(slices[name].get_shape())
        resizable = name == POSITIONS and len(stored) == len(shape) and stored[0] > 0 and stored[1:] == shape[1:]
        if stored != shape and not resizable:
            wrong.append(f"{name} {stored} instead of {shape}")
    if wrong:
        raise _mismatch("expected the shapes of the config", _list_names(wrong))
    dtypes = {name: tensor.get_dtype() for name, tensor in slices.items()}
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
