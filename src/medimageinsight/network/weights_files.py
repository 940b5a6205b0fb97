"""The files of a checkpoint's weights: one safetensors file, or the shards that an index lists. Works without PyTorch.

::

    model.safetensors.index.json        {"weight_map": {"logit_scale": "model-00001-of-00002.safetensors", ...}}
    model-00001-of-00002.safetensors    each tensor is in one shard
    model-00002-of-00002.safetensors
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from medimageinsight.bundle import FileEntry
from medimageinsight.errors import CheckpointError
from medimageinsight.files.json import load_json
from medimageinsight.files.lfs import is_lfs_pointer

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX_SUFFIX = ".safetensors.index.json"
MAX_INDEX_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 20

# torch.save writes a zip archive; before PyTorch 1.6 it wrote a pickle, whose first byte is 0x80, then its protocol.
_ZIP_START = b"PK\x03\x04"
_PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))

# Reads tensors alone (``weights_only``), as state_dict or inside a checkpoint of a training; copies, since tensors that
# share memory cannot be saved.
PICKLE_CONVERSION = """\
import torch; from safetensors.torch import save_file
weights = torch.load("model.pt", map_location="cpu", weights_only=True)
save_file({k: v.contiguous().clone() for k, v in weights.get("state_dict", weights).items()}, "model.safetensors")"""


def is_index(path: Path) -> bool:
    """Return whether a file lists the shards of a checkpoint, by its name."""
    return path.name.endswith(INDEX_SUFFIX)


def list_weights_files(weights: Path) -> list[Path]:
    """Return the weights file itself, or the shards of an index, sorted by name.

    Raises:
        CheckpointError: The index cannot be read (``checkpoint_unreadable``, ``checkpoint_is_pointer``), or a shard
            does not exist (``checkpoint_not_found``).
    """
    if not is_index(weights):
        return [weights]
    refuse_pointer(weights)
    try:
        if weights.stat().st_size > MAX_INDEX_BYTES:
            raise _unreadable_index(f"more than {MAX_INDEX_BYTES:,} bytes")
        names = sorted(set(load_json(weights.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable_index(type(error).__name__) from None
    if not names:
        raise _unreadable_index("no shard")
    # A name in the index must not lead out of the checkpoint's folder, on any platform.
    if any(not isinstance(name, str) or PureWindowsPath(name).name != name for name in names):
        raise _unreadable_index("a shard that is not the name of a file")
    shards = [weights.with_name(name) for name in names]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise CheckpointError(
            f"expected the {len(shards)} shards of the index next to it, got {len(shards) - len(missing)}, without "
            f"{missing[0][:100].encode('unicode_escape').decode()}: download the missing ones",
            code="checkpoint_not_found",
        )
    return shards


def describe_weights(weights: Path) -> FileEntry:
    """Return the size in bytes and the SHA-256 of a weights file, or of the contents of all shards in their order."""
    return describe_files(list_weights_files(weights))


def describe_files(paths: Iterable[Path]) -> FileEntry:
    """Return the size in bytes and the SHA-256 of the contents of files, one after the other."""
    digest, size = hashlib.sha256(), 0
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    return FileEntry(bytes=size, sha256=digest.hexdigest())


def looks_like_safetensors(path: Path) -> bool:
    """Return whether a file begins with the length of a header that is JSON, as a safetensors file does."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8
    except OSError:
        return False


def refuse_other_formats(path: Path) -> None:
    """Reject a weights file of another known format.

    Raises:
        CheckpointError: It cannot be read (``checkpoint_unreadable``), is a pickle (``checkpoint_is_pickle``) or a Git
            LFS pointer (``checkpoint_is_pointer``).
    """
    if looks_like_safetensors(path):
        return
    refuse_pointer(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        raise CheckpointError(
            "expected a readable checkpoint file, got one that cannot be opened", code="checkpoint_unreadable"
        ) from None
    if start.startswith((_ZIP_START, *_PICKLE_STARTS)):
        raise CheckpointError(
            "expected a safetensors file, got a pickle, which can run any code when it is read. If you trust its "
            f"source, convert it with these three lines and use the new file:\n{PICKLE_CONVERSION}",
            code="checkpoint_is_pickle",
        )


def refuse_pointer(path: Path) -> None:
    """Reject a file that was cloned without its content.

    Raises:
        CheckpointError: It is a Git LFS pointer (``checkpoint_is_pointer``).
    """
    if is_lfs_pointer(path):
        raise CheckpointError(
            f"expected the content of {path.name}, got a Git LFS pointer, which only names it: run git lfs pull in the "
            "repository, or download the file itself",
            code="checkpoint_is_pointer",
        )


def _unreadable_index(found: str) -> CheckpointError:
    return CheckpointError(
        f'expected an index of shards, {{"weight_map": {{tensor: file}}}}, got {found}: download it again',
        code="checkpoint_unreadable",
    )
