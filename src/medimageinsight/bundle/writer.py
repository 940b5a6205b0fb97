"""Writing a bundle so that there is a whole one or none: everything goes into a hidden sibling folder first.

A run that ends by an error, Ctrl-C or SIGTERM removes its folder. What a killed run leaves behind is hidden, has no
bundle's name, and is cleared away by the next conversion to the same place.
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
    """A folder to write a bundle into, which takes the place of `target` when the block ends without an error.

    ::

        with new_bundle("models/mini") as folder:
            ...                               # write the files
            write_manifest(folder, manifest)  # last

    Args:
        target: Where the bundle shall be; its parent folders are made.
        overwrite: Replace the bundle that is there. Anything else there is never touched.

    Raises:
        BundleError: Something is there already (``bundle_exists``), the name cannot be a bundle's (``bundle_invalid``),
            or the place cannot be written (``bundle_not_writable``).
    """
    target = Path(os.path.abspath(Path(target).expanduser()))  # noqa: PTH100 (a link at the target stays a link)
    try:
        _check_target(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        partial = _hidden_sibling(target, "partial")
        partial.mkdir()
    except OSError as error:
        raise BundleError(f"the bundle cannot be written there: {error.strerror}", code="bundle_not_writable") from None
    with _terminable(), _claimed(partial):
        try:
            yield partial
            Bundle.open(partial)
            _put_in_place(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Write ``manifest.json`` with the sizes and checksums of the named files, which must be complete."""
    manifest = manifest.with_files({name: describe_file(folder / name) for name in sorted(names)})
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not is_safe_name(target.name):
        raise BundleError("a bundle's folder may have letters, digits, '.', '_' and '-' in its name: choose another")
    if not target.exists() and not target.is_symlink():
        return
    is_bundle = (target / MANIFEST_NAME).is_file()
    is_empty = target.is_dir() and not any(target.iterdir())
    if is_empty or (is_bundle and overwrite):
        return
    advice = "say that it may be overwritten, or choose another place" if is_bundle else "choose another place"
    what = "a bundle" if is_bundle else "something that is not a bundle"
    raise BundleError(f"expected a new folder, there is {what} already: {advice}", code="bundle_exists")


def _hidden_sibling(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{kind}-{secrets.token_hex(4)}")


def _clear_leftovers(target: Path) -> None:
    """Remove what killed runs left; a folder that a running one has claimed stays."""
    for kind in ("partial", "replaced"):
        for folder in target.parent.glob(f".{target.name}.{kind}-????????"):
            with contextlib.suppress(OSError), _claimed(folder):
                shutil.rmtree(folder)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system lets go when the process dies.

    Raises:
        BlockingIOError: Another process holds it.
    """
    if sys.platform == "win32":  # an open file cannot be removed there, which protects a running conversion as well
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
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that the partial folder goes. Signals are the main thread's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _put_in_place(partial: Path, target: Path) -> None:
    """Flush the files, so that a power failure leaves no bundle with empty files, and rename the folder to `target`."""
    for path in partial.iterdir():
        atomic.flush(path)
    if target.is_dir() and not (target / MANIFEST_NAME).is_file():
        target.rmdir()
    replaced = _hidden_sibling(target, "replaced")
    atomic.move_folder(partial, target, earlier=replaced)
    shutil.rmtree(replaced, ignore_errors=True)
