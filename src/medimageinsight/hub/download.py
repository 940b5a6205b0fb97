"""Downloading a release: each file continues where an earlier call ended, and is checked before it gets its name."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from medimageinsight.bundle import FileEntry, describe_file
from medimageinsight.errors import CheckpointError, ModelError
from medimageinsight.files.atomic import flush
from medimageinsight.files.json import read_document, write_document
from medimageinsight.hub.hub_errors import hub_client, is_offline, no_space, offline_error
from medimageinsight.hub.release import LIBRARY, Release, RemoteFile, endpoint, list_release
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORD = "download.json"
_KIND = "download"
_SPARE_BYTES = 64 << 20  # a disk is never filled to its last byte


@dataclass(frozen=True, kw_only=True)
class Download:
    """A complete release on this disk, the form of ``download.json``.

    Attributes:
        repository: ``OWNER/NAME``.
        folder: Name of the folder in the repository.
        revision: The commit that all files are of.
        files: Name below the folder to size and SHA-256.
    """

    repository: str
    folder: str
    revision: str
    files: dict[str, FileEntry]

    def provenance(self) -> dict[str, Any]:
        """Return what a bundle's manifest stores of it."""
        checksums = {name: entry.sha256 for name, entry in sorted(self.files.items())}
        return {
            "repository": self.repository,
            "folder": self.folder,
            "revision": self.revision,
            "sha256": checksums,
        }


def download_release(
    release: Release,
    folder: Path,
    *,
    reserve: Callable[[int, int], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Download:
    """Download the files of a release that are not yet in `folder`, and check and record all of them.

    Offline (``HF_HUB_OFFLINE``), a complete earlier download is checked and used.

    Args:
        release: What to download.
        folder: Becomes the release's folder, as the converter reads it.
        reserve: Called with the bytes to download and those of all files, before anything is downloaded, to raise an
            error where a disk has no space.
        progress: Called with the name of a file, the bytes done of all files, and their sum.

    Raises:
        CheckpointError: As `list_release`, and ``hub_wrong_hash``, ``hub_no_space``, ``hub_busy`` (another download to
            the folder is running), or ``hub_file_exists`` (a file in the folder is not of a download).
        OSError: The folder cannot be written to.
    """
    report = progress or (lambda *_: None)
    with hub_client():
        if is_offline():
            return _use_earlier(release, folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            commit, files = list_release(release)
            earlier = _read_record(folder)
            total = sum(file.bytes for file in files)
            missing = [file for file in files if not _is_complete(folder, file, earlier)]
            ready = sum(_partial_size(folder, file) for file in missing)
            to_download = sum(file.bytes for file in missing) - ready
            _check_space(folder, to_download)
            if reserve is not None:
                reserve(to_download, total)
            done = total - sum(file.bytes for file in missing)
            for file in missing:

                def report_file(size: int, name: str = file.name, before: int = done) -> None:
                    report(name, before + size, total)

                _download(release, commit, file, folder, report_file)
                done += file.bytes
            entries = {file.name: describe_file(folder / file.name) for file in files}
            record = Download(repository=release.repository, folder=release.folder, revision=commit, files=entries)
            _write_record(folder, record)
            return record


def remove_download(download: Download, folder: Path) -> None:
    """Remove the files of a download and the folders that are then empty; other files stay."""
    parents = set()
    for name in download.files:
        (folder / name).unlink(missing_ok=True)
        parents |= {parent for parent in (folder / name).parents if parent.is_relative_to(folder)}
    (folder / RECORD).unlink(missing_ok=True)
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):  # it has other files
            parent.rmdir()


def _use_earlier(release: Release, folder: Path) -> Download:
    record = _read_record(folder)
    same = record and (record.repository, record.folder) == (release.repository, release.folder)
    if record is None or not same or release.revision not in ("main", record.revision):
        raise offline_error("a complete download of the release")
    for name, entry in record.files.items():
        path = folder / name
        if not path.is_file() or describe_file(path) != entry:
            raise offline_error(f"{name} as it was downloaded")
    return record


def _is_complete(folder: Path, file: RemoteFile, earlier: Download | None) -> bool:
    """Return whether a file is there; one of an earlier download of another version is replaced later.

    Raises:
        CheckpointError: There is a file of another origin (``hub_file_exists``).
    """
    path = folder / file.name
    if not path.exists():
        return False
    if path.stat().st_size == file.bytes and _has_checksum(path, file):
        return True
    entry = earlier and earlier.files.get(file.name)
    if entry and describe_file(path) == entry:
        return False
    raise CheckpointError(
        f"expected no other file where {file.name} belongs, got one that is not the release's: move it, or choose "
        "another folder",
        code="hub_file_exists",
    )


def _download(release: Release, commit: str, file: RemoteFile, folder: Path, report: Callable[[int], None]) -> None:
    """Download one file to a hidden path, check it, and give it its name."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public in its documentation

    path, partial = folder / file.name, _partial(folder, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(release.repository, f"{release.folder}/{file.name}", revision=commit, endpoint=endpoint())
    headers = build_hf_headers(library_name=LIBRARY, library_version=__version__)
    with partial.open("ab") as output:
        if output.tell() > file.bytes:
            output.truncate(0)
        start = output.tell()
        report(start)
        http_get(
            url,
            output,
            resume_size=start,
            # The client does not send the token to another host that the hub redirects to.
            headers=headers | {"Accept-Encoding": "identity"},
            expected_size=file.bytes,
            displayed_filename=file.name,
            tqdm_class=_progress_class(report),  # the few methods that are used
        )
    if not _has_checksum(partial, file):
        partial.unlink()
        raise CheckpointError(
            f"expected {file.name} with the checksum that the hub lists, got other content, which was removed: run the "
            "command again; if it happens again, the hub or a proxy changes files",
            code="hub_wrong_hash",
        )
    flush(partial)
    partial.replace(path)


def _progress_class(report: Callable[[int], None]) -> type:
    """Return a class in place of tqdm's, whose instances report the bytes of the file that are on the disk."""

    class ByteCount:
        def __init__(self, *, initial: int = 0, **_: object) -> None:
            self.done = initial

        def __enter__(self) -> ByteCount:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int) -> None:
            self.done += count
            report(self.done)

    return ByteCount


def _has_checksum(path: Path, file: RemoteFile) -> bool:
    if path.stat().st_size != file.bytes:
        return False
    if file.sha256 is not None:
        return describe_file(path).sha256 == file.sha256
    digest = hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)  # as Git names its objects
    digest.update(path.read_bytes())  # small, see MAX_SMALL_BYTES, or of a repository without LFS
    return digest.hexdigest() == file.git_sha1


def _partial(folder: Path, file: RemoteFile) -> Path:
    """Return the hidden path of an unfinished file; another version of the file has another one."""
    path = folder / file.name
    return path.with_name(f".{path.name}.{(file.sha256 or file.git_sha1 or '')[:12]}.part")


def _partial_size(folder: Path, file: RemoteFile) -> int:
    partial = _partial(folder, file)
    return min(partial.stat().st_size, file.bytes) if partial.is_file() else 0


def _check_space(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted and free < wanted + _SPARE_BYTES:
        raise no_space(f"{wanted / 1e9:,.2f} GB to download ({free / 1e9:,.2f} GB are free)")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / ".download.lock"
    try:
        with FileLock(path, timeout=0):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows removes no open file
                    path.unlink()
    except Timeout:
        raise CheckpointError(
            "expected no other download to this folder, got one that is running: wait until it ends",
            code="hub_busy",
        ) from None


def _read_record(folder: Path) -> Download | None:
    """Return the record of an earlier download; None without one, or if it cannot be read: it is written again."""
    try:
        return read_document(folder / RECORD, Download, kind=_KIND)
    except (OSError, ModelError):
        return None


def _write_record(folder: Path, record: Download) -> None:
    files = {name: vars(entry) for name, entry in sorted(record.files.items())}
    write_document(folder / RECORD, {**vars(record), "files": files}, kind=_KIND)
