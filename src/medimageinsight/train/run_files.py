"""Write the files of a run: each is replaced in one step (`files.atomic`), and errors are those of training."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import CheckpointError, ConfigError
from medimageinsight.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_folder(path: Path) -> None:
    """Create a run's folder and its parents if they do not exist.

    Raises:
        ConfigError: The folder cannot be created (``out_unusable``).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"expected a folder for the run or a path to create one, got: {error.strerror}. Name another",
            code="out_unusable",
        ) from None


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` on disk when the block ends without an error.

    Raises:
        CheckpointError: The disk is full or fails (``checkpoint_not_saved``); the earlier file remains.
    """
    with _disk_errors(), atomic.replace_file(path, partial=path.with_name(f"{path.name}.partial")) as partial:
        yield partial


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a folder for plain files, which replaces the folder `path` when the block ends without an error.

    Raises:
        CheckpointError: As `replace_file`; after a crash see `files.atomic.restore_folder`.
    """
    with _disk_errors(), atomic.replace_folder(path) as partial:
        yield partial


@contextmanager
def _disk_errors() -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise CheckpointError(
            f"expected space for the run's files on the disk, got: {reason}. The last complete ones remain: "
            "free some space and repeat the command",
            code="checkpoint_not_saved",
        ) from None
