"""Writing a bundle completely or not at all: all files are written to a hidden folder in the same parent first.

A lock admits one writer to a path at a time. A run that ends by an error, Ctrl-C or SIGTERM removes its hidden folder.
A killed run leaves it; the next conversion to the same path removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from medimageinsight.bundle.bundle import Bundle, describe_file
from medimageinsight.bundle.manifest import MANIFEST_NAME, Manifest, is_safe_name
from medimageinsight.errors import BundleError
from medimageinsight.files import atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
        BundleError: The path exists (``bundle_exists``), another process is writing a bundle to it (``bundle_busy``),
            its name cannot be a bundle's (``bundle_invalid``), or its parent folder cannot be written to
            (``bundle_not_writable``).
    """
    target = Path(os.path.abspath(Path(target).expanduser()))  # noqa: PTH100 (a link at the target is not followed)
    partial = _hidden_sibling(target, "partial")
    with _sigterm_as_exit(), contextlib.ExitStack() as stack:
        try:
            _refuse_target(target, overwrite=overwrite)
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(target))
            _clear_leftovers(target)
            partial.mkdir()
        except OSError as error:
            raise BundleError(
                f"expected a folder that a bundle can be written to, got: {error.strerror}", code="bundle_not_writable"
            ) from None
        try:
            yield partial
            Bundle.open(partial)
            for path in partial.iterdir():  # else a power failure could leave a bundle with empty files
                atomic.flush(path)
            _refuse_target(target, overwrite=overwrite)  # the writing took minutes
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


def add_file(bundle: Bundle, name: str, write: Callable[[Path], None]) -> Bundle:
    """Write an optional file of an existing bundle and enter it in the manifest; returns the bundle opened again.

    At any moment the folder is a valid bundle, with the file or without it.

    Raises:
        BundleError: Another process writes to the bundle (``bundle_busy``), or it cannot be written to
            (``bundle_not_writable``).
    """
    folder = bundle.folder
    others = {file: entry for file, entry in bundle.manifest.files.items() if file != name}
    try:
        with _locked(folder.absolute()):
            atomic.write_text(folder / MANIFEST_NAME, bundle.manifest.with_files(others).to_json())
            write(folder / name)
            files = others | {name: describe_file(folder / name)}
            manifest = bundle.manifest.with_files(dict(sorted(files.items())))
            atomic.write_text(folder / MANIFEST_NAME, manifest.to_json())
    except OSError as error:
        raise BundleError(
            f"expected a bundle that can be written to, got: {error.strerror}: copy its folder to another disk",
            code="bundle_not_writable",
        ) from None
    return Bundle.open(folder)


def check_target(target: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a path that `new_bundle` would refuse, before hours of work for it.

    Raises:
        BundleError: The path exists (``bundle_exists``), or its name cannot be a bundle's (``bundle_invalid``).
    """
    _refuse_target(Path(os.path.abspath(Path(target).expanduser())), overwrite=overwrite)  # noqa: PTH100 (as below)


def _refuse_target(target: Path, *, overwrite: bool) -> None:
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
    """Remove the hidden folders of killed runs."""
    for kind in ("partial", "replaced"):
        for folder in target.parent.glob(f".{target.name}.{kind}-????????"):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of a target, a hidden file next to it, which the system releases when the process ends.

    Raises:
        BundleError: Another process or thread holds it (``bundle_busy``).
    """
    path = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(path, timeout=0):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows removes no open file; the lock's release does it there
                    path.unlink()
    except Timeout:
        raise BundleError(
            "expected no other conversion to this folder, got one that is running: "
            "wait until it ends, or choose another path",
            code="bundle_busy",
        ) from None


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
