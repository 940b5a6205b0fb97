"""The files of a release on a hub that the converter needs: names, sizes and checksums at one commit."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import CheckpointError, InputError
from medimageinsight.hub.hub_errors import hub_client, invalid_response
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

DEFAULT_ENDPOINT = "https://huggingface.co"
LIBRARY = "medimageinsight-onnx"  # in the User-Agent
TIMEOUT = 30.0  # seconds for the listing
MAX_FILES = 64
MAX_SMALL_BYTES = 64 << 20  # a config, a vocabulary, an index of shards
MAX_WEIGHTS_BYTES = 32 << 30

# One part of a name: no separator, nothing hidden, no way out of the folder on any platform.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_WEIGHTS = re.compile(rf"vision_model/{_NAME}\.(?:pt|safetensors)")
_PARTS = {
    "config.yaml": re.compile(r"config\.yaml"),
    "vision_model/*.pt": _WEIGHTS,
    "language_model/*/vocab.json": re.compile(rf"language_model/{_NAME}/vocab\.json"),
    "language_model/*/merges.txt": re.compile(rf"language_model/{_NAME}/merges\.txt"),
}
_INDEX = re.compile(rf"vision_model/{_NAME}\.safetensors\.index\.json")
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}")
_FOLDER = re.compile(rf"{_NAME}(?:/{_NAME}){{0,7}}")
_REVISION = re.compile(rf"{_NAME}(?:/{_NAME}){{0,7}}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A folder of a repository on a hub, at a revision.

        Release(repository="OWNER/NAME", folder="2024.09.27", revision="main")

    Attributes:
        repository: ``OWNER/NAME``.
        folder: The folder with ``config.yaml``, ``vision_model/`` and ``language_model/``.
        revision: A branch, a tag or a commit; what it is at the time of the download is recorded as a commit.

    Raises:
        InputError: A name is not of this form (``hub_name_invalid``).
    """

    repository: str
    folder: str
    revision: str = "main"

    def __post_init__(self) -> None:
        for name, pattern, value in (
            ("repository as OWNER/NAME", _REPOSITORY, self.repository),
            ("folder as NAME or NAME/NAME", _FOLDER, self.folder),
            ("revision as a branch, tag or commit", _REVISION, self.revision),
        ):
            if not pattern.fullmatch(value):
                raise InputError(f"expected a {name}, got another form", code="hub_name_invalid")


PUBLIC_RELEASE = Release(repository="lion-ai/MedImageInsights", folder="2024.09.27")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a release; of its two checksums, the hub has one: SHA-256 of large files, Git's SHA-1 of others."""

    name: str  # relative to the release's folder
    bytes: int
    sha256: str | None
    git_sha1: str | None


def endpoint() -> str:
    """Return the URL of the hub: ``HF_ENDPOINT``, which is read at each call, else the public one."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def list_release(release: Release) -> tuple[str, tuple[RemoteFile, ...]]:
    """Return the commit of a release's revision, and its files that the converter needs.

    Raises:
        CheckpointError: As `hub_client`, also where a needed file is missing (``hub_not_found``), or the files are too
            many or too large (``hub_too_large``).
        MissingExtraError: The extra ``hub`` is not installed.
    """
    with hub_client():
        from huggingface_hub import HfApi

        api = HfApi(endpoint=endpoint(), library_name=LIBRARY, library_version=__version__)
        try:
            found = api.model_info(release.repository, revision=release.revision, files_metadata=True, timeout=TIMEOUT)
            commit, siblings = found.sha, found.siblings or []
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, OSError):  # some of the library's errors are both
                raise
            raise invalid_response("another document") from None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise invalid_response("no commit")
    prefix = release.folder + "/"
    patterns = (*_PARTS.values(), _INDEX)
    files = tuple(
        _describe(sibling, sibling.rfilename.removeprefix(prefix))
        for sibling in siblings
        if sibling.rfilename.startswith(prefix)
        and any(pattern.fullmatch(sibling.rfilename.removeprefix(prefix)) for pattern in patterns)
    )
    _check(files)
    return commit, files


def _describe(sibling: RepoSibling, name: str) -> RemoteFile:
    size, lfs = sibling.size, sibling.lfs
    sha256, sha1 = lfs.sha256 if lfs else None, None if lfs else sibling.blob_id
    sums = ((sha256, _SHA256), (sha1, _SHA1))
    if not any(isinstance(value, str) and pattern.fullmatch(value) for value, pattern in sums):
        raise invalid_response("a file without a checksum")
    if type(size) is not int or size < 0:
        raise invalid_response("a file without a size")
    return RemoteFile(name=name, bytes=size, sha256=sha256, git_sha1=sha1)


def _check(files: tuple[RemoteFile, ...]) -> None:
    for part, pattern in _PARTS.items():
        if not any(pattern.fullmatch(file.name) for file in files):
            raise CheckpointError(
                f"expected {part} in the release's folder, got none: check repository, folder and revision",
                code="hub_not_found",
            )
    small = max(file.bytes for file in files if not _WEIGHTS.fullmatch(file.name))
    total = sum(file.bytes for file in files)
    if len(files) > MAX_FILES or small > MAX_SMALL_BYTES or total > MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            f"expected at most {MAX_FILES} files, {MAX_WEIGHTS_BYTES >> 30} GiB together and {MAX_SMALL_BYTES >> 20} "
            f"MiB for each but the weights, got {len(files)} files of {total:,} bytes",
            code="hub_too_large",
        )
