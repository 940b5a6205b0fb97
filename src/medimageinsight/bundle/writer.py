"""Writing a bundle completely or not at all: all files are written to a hidden folder in the same parent first.

A run that ends by an error, Ctrl-C or SIGTERM removes its hidden folder. A killed run leaves it; the next conversion to
the same path removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import Bundle, describe_file
from medimageinsight.bundle.manifest import MANIFEST_NAME, Manifest, is_safe_name
from medimageinsight.errors import BundleError
from medimageinsight.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextlib.contextmanager
def new_bundle(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a folder to write a bundle to, which is moved to `target` when the block ends without an error.

    ::

        with new_bundle("models/mini") as folder:
            ...                               # write the files
            write_manifest(folder, manifest)  # last

    Its parent folders are created. Existing files and folders are never replaced, except a bundle with ``overwrite``.

    Raises:
        BundleError: The path exists (``bundle_exists``), its name cannot be a bundle's (``bundle_invalid``), or its
            parent folder cannot be written to (``bundle_not_writable``).
    """
    target = Path(os.path.abspath(Path(target).expanduser()))  # noqa: PTH100 (a link at the target is not followed)
    try:
        _check_target(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        partial = _hidden_sibling(target, "partial")
        partial.mkdir()
    except OSError as error:
        raise BundleError(
            f"expected a folder that a bundle can be written to, got: {error.strerror}", code="bundle_not_writable"
        ) from None
    with _sigterm_as_exit(), _locked(partial):
        try:
            yield partial
            Bundle.open(partial)
            for path in partial.iterdir():  # else a power failure could leave a bundle with empty files
                atomic.flush(path)
            if target.is_dir() and not (target / MANIFEST_NAME).is_file():
                target.rmdir()
            replaced = _hidden_sibling(target, "replaced")
            atomic.move_folder(partial, target, earlier=replaced)
            shutil.rmtree(replaced, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Write ``manifest.json`` with the sizes and checksums of the named files, which must be complete."""
    manifest = manifest.with_files({name: describe_file(folder / name) for name in sorted(names)})
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not is_safe_name(target.name):
        raise BundleError(
            "expected a bundle name of letters, digits, '.', '_' and '-', got other characters: choose another name"
        )
    if not target.exists() and not target.is_symlink():
        return
    is_bundle = (target / MANIFEST_NAME).is_file()
    is_empty = target.is_dir() and not any(target.iterdir())
    if is_empty or (is_bundle and overwrite):
        return
    found = "an existing bundle" if is_bundle else "an existing path that is not a bundle"
    advice = "allow it to be overwritten, or choose another path" if is_bundle else "choose another path"
    raise BundleError(f"expected a new folder, got {found}: {advice}", code="bundle_exists")


def _hidden_sibling(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{kind}-{secrets.token_hex(4)}")


def _clear_leftovers(target: Path) -> None:
    """Remove the hidden folders of killed runs; those of running ones are locked."""
    for kind in ("partial", "replaced"):
        for folder in target.parent.glob(f".{target.name}.{kind}-????????"):
            with contextlib.suppress(OSError), _locked(folder):
                shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder itself, which the system releases when the process ends.

    On Windows folders cannot be locked and nothing is done: files that are open cannot be removed there, which protects
    a running conversion while it writes.

    Raises:
        BlockingIOError: Another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Raise `SystemExit` on SIGTERM, so that the partial folder is removed. Only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def exit_with_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, exit_with_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
