"""Files and folders that are there whole or as they were before, whatever stops the process or fills the disk."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_folder(path: Path) -> None:
    """A folder that is there afterwards.

    Raises:
        ConfigError: It cannot be (``out_unusable``).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"expected a folder for the run or room for one, got: {error.strerror}. Name another", code="out_unusable"
        ) from None


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path`, on disk, when the block ends without an error.

    Raises:
        CheckpointError: The disk is full or fails (``checkpoint_not_saved``); what was at `path` stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with _disk_errors():
            yield partial
            _sync(partial)
            partial.replace(path)
            _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """The same for a folder of plain files. A folder cannot take another's place in one move: see `restore_folder`."""
    partial, earlier = path.with_name(f".{path.name}.partial"), _earlier(path)
    restore_folder(path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _disk_errors():
            partial.mkdir(parents=True)
            yield partial
            for file in partial.iterdir():
                _sync(file)
            if path.exists():
                path.rename(earlier)
            partial.rename(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Puts the earlier folder back where a process was killed between the two moves."""
    earlier = _earlier(path)
    if earlier.exists() and not path.exists():
        earlier.rename(path)
    shutil.rmtree(earlier, ignore_errors=True)


def _earlier(path: Path) -> Path:
    return path.with_name(f".{path.name}.earlier")


@contextmanager
def _disk_errors() -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise CheckpointError(
            f"expected room for the run's files on the disk, got: {reason}. The last whole ones are kept: "
            "free some space and repeat the command",
            code="checkpoint_not_saved",
        ) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
