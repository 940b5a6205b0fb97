"""The weights of a checkpoint: a safetensors file in any spelling of its names, loaded strictly.

Nothing here unpickles: a file that is not safetensors by its content is refused, whatever its ending says.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from medimageinsight.errors import CheckpointError, missing_extra
from medimageinsight.network.model import UniCLModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from medimageinsight.network.config import ModelConfig

POSITIONS = "lang_encoder.positional_embedding"
NAMES_SHOWN = 3  # in an error message, before it says how many more there are

# PyTorch's own dtype names of what is loaded as float32; integer and 8-bit weights are another kind of model.
_FLOAT_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

_TOWERS = {
    "visual.": "image_encoder.",
    "text.": "lang_encoder.",
    "vision_projection": "image_projection",
    "text_projection": "lang_projection",
}
_IMAGE_PARTS = {"conv_embeds.": "convs.", "main_blocks.": "blocks."}
_BLOCK = re.compile(r"(image_encoder\.blocks\.\d+\.\d+)\.([01])\.(.+)")
_BLOCK_KINDS = {"0": ("spatial_block", "window_attn"), "1": ("channel_block", "channel_attn")}
_BLOCK_PARTS = {
    "cpe.0.proj.": "conv1.fn.dw.",
    "cpe.1.proj.": "conv2.fn.dw.",
    "norm2.": "ffn.norm.",
    "mlp.": "ffn.fn.net.",
}


class _Weights(Protocol):
    """What is used of an open safetensors file."""

    def keys(self) -> list[str]: ...
    def get_slice(self, name: str) -> Any: ...  # noqa: ANN401
    def get_tensor(self, name: str) -> Tensor: ...


def canonical_name(key: str) -> str:
    """A tensor's name as the network spells it, from any of the three spellings that checkpoints use.

    ::

        canonical_name("visual.main_blocks.2.4.1.attn.qkv.weight")
        # "image_encoder.blocks.2.4.channel_block.channel_attn.fn.qkv.weight"

    A name that is canonical or unknown is returned as it is.
    """
    name = _with_prefix(key, _TOWERS)
    if name.startswith("image_encoder."):
        name = "image_encoder." + _with_prefix(name.removeprefix("image_encoder."), _IMAGE_PARTS)
    if match := _BLOCK.fullmatch(name):
        block, kind, rest = match.groups()
        kind_name, attention = _BLOCK_KINDS[kind]
        parts = _BLOCK_PARTS | {"attn.": f"{attention}.fn.", "norm1.": f"{attention}.norm."}
        name = f"{block}.{kind_name}.{_with_prefix(rest, parts)}"
    return name


def read_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes of a checkpoint's tensors, from its header alone.

    Raises:
        CheckpointError: As `load_state_dict` says, as far as it shows in the header.
    """
    with _opened(weights) as file:
        return {name: tuple(file.get_slice(key).get_shape()) for name, key in _canonical_keys(file).items()}


def load_state_dict(weights: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor of the network `config` describes, float32, under the network's names.

    float32 tensors stay memory-mapped; other float types are converted. Text positions of another length are resized
    linearly, as the original does; `read_shapes` tells whether they were.

    Raises:
        CheckpointError: The file is not safetensors (``checkpoint_unreadable``; ``checkpoint_is_pickle`` for a pickle,
            ``checkpoint_is_pointer`` for a Git LFS pointer), or tensors are missing, unknown, named twice, of another
            shape or type, or not finite (``checkpoint_mismatch``). The message names them.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in meta_model(config).state_dict().items()}
    with _opened(weights) as file:
        keys = _canonical_keys(file)
        _check_names(keys, expected)
        _check_tensors(file, keys, expected)
        tensors = {name: file.get_tensor(key).to(torch.float32) for name, key in keys.items()}
    not_finite = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if not_finite:
        raise _mismatch("expected finite weights", "NaN or infinity in", not_finite)
    tensors[POSITIONS] = _resized(tensors[POSITIONS], config.text.context_length)
    return tensors


def load_model(weights: Path, config: ModelConfig) -> UniCLModel:
    """The network with a checkpoint's weights, float32, on the CPU, ready for inference.

    The weights are held once: the network is built without memory and takes the mapped tensors as they are.

    Raises:
        CheckpointError: As `load_state_dict`.
    """
    model = meta_model(config)
    model.load_state_dict(load_state_dict(weights, config), assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def meta_model(config: ModelConfig) -> UniCLModel:
    """The network without memory: shapes and names only."""
    with torch.device("meta"):
        return UniCLModel(config)


def _with_prefix(name: str, spellings: dict[str, str]) -> str:
    for old, new in spellings.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


@contextlib.contextmanager
def _opened(weights: Path) -> Iterator[_Weights]:
    """The safetensors file, opened for reading.

    Raises:
        CheckpointError: It is not one; what it is instead is said where it can be seen.
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
            "expected a safetensors file, its header or size does not fit: download the checkpoint again",
            code="checkpoint_unreadable",
        ) from None


def _refuse_other_formats(weights: Path) -> None:
    try:
        with weights.open("rb") as file:
            start = file.read(64)
    except OSError:
        raise CheckpointError(
            "expected a readable checkpoint file, it cannot be opened", code="checkpoint_unreadable"
        ) from None
    # A zip is what torch.save writes today, a protocol 2 pickle what it wrote before.
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise CheckpointError(
            "expected a safetensors file, got a pickle, which can run any code when it is read: "
            "save its tensors with safetensors where you trust it, and convert that file",
            code="checkpoint_is_pickle",
        )
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "expected a safetensors file, got the pointer that Git LFS puts in its place: run git lfs pull",
            code="checkpoint_is_pointer",
        )


def _canonical_keys(file: _Weights) -> dict[str, str]:
    """Canonical name to the file's own spelling of it."""
    keys: dict[str, str] = {}
    for key in file.keys():  # noqa: SIM118 (not a mapping)
        name = canonical_name(key)
        if name in keys:
            raise _mismatch("expected each tensor once", "two spellings of", [name])
        keys[name] = key
    return keys


def _check_names(keys: dict[str, str], expected: dict[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in keys]
    unknown = [key for name, key in keys.items() if name not in expected]
    if missing and unknown:
        raise _mismatch("expected the network of the config", f"unknown {_listed(unknown)}; missing", missing)
    if missing:
        raise _mismatch("expected every tensor of the network", "missing", missing)
    if unknown:
        raise _mismatch("expected only tensors of the network", "unknown", unknown)


def _check_tensors(file: _Weights, keys: dict[str, str], expected: dict[str, tuple[int, ...]]) -> None:
    found = {name: file.get_slice(key) for name, key in keys.items()}
    shapes = {name: tuple(piece.get_shape()) for name, piece in found.items()}
    wrong = [name for name, shape in expected.items() if not _fits(name, shapes[name], shape)]
    if wrong:
        raise _mismatch(
            "expected the shapes of the config", "another in", wrong, lambda n: f"{n} {expected[n]}, got {shapes[n]}"
        )
    untyped = [name for name, piece in found.items() if piece.get_dtype() not in _FLOAT_TYPES]
    if untyped:
        raise _mismatch(
            f"expected a float type ({', '.join(_FLOAT_TYPES)})",
            "another in",
            untyped,
            lambda n: f"{n} {found[n].get_dtype()}",
        )


def _fits(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if name == POSITIONS:  # may be of another length
        return len(shape) == len(expected) and shape[0] > 0 and shape[1:] == expected[1:]
    return shape == expected


def _resized(positions: Tensor, length: int) -> Tensor:
    """Positions (L, width) at another length, linearly between half-pixel centres."""
    if len(positions) == length:
        return positions
    return F.interpolate(positions.T[None], size=length, mode="linear", align_corners=False)[0].T.contiguous()


def _mismatch(
    expected: str, what: str, names: list[str], describe: Callable[[str], str] | None = None
) -> CheckpointError:
    return CheckpointError(
        f"{expected}, got {what} {_listed(names, describe)}: check that checkpoint and config belong together",
        code="checkpoint_mismatch",
    )


def _listed(names: list[str], describe: Callable[[str], str] | None = None) -> str:
    # A hostile file's names reach a terminal here, so they are shortened and escaped.
    shown = ", ".join((describe or str)(name)[:160].encode("unicode_escape").decode() for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
