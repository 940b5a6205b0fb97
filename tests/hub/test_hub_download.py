"""Downloads from a hub: what is requested, how they continue, and every failure with its code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from medimageinsight.errors import CheckpointError, InputError
from medimageinsight.hub import PUBLIC_RELEASE, Release, download_release, remove_download

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hub.hub_server import Hub

WEIGHTS = "vision_model/medimageinsigt-v1.0.0.pt"
NEEDED = {
    "config.yaml",
    "language_model/clip_tokenizer/merges.txt",
    "language_model/clip_tokenizer/vocab.json",
    WEIGHTS,
}


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def failure(release: Release, folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        download_release(release, folder)
    assert str(folder) not in caught.value.message
    return caught.value


def test_only_the_needed_files_are_downloaded_and_recorded(
    hub: Hub, golden_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_own")
    hub.token = "hf_own"
    folder, reported = tmp_path / "release", []
    download = download_release(PUBLIC_RELEASE, folder, progress=lambda *state: reported.append(state))
    assert files_below(folder) == NEEDED | {"download.json"}
    for name in NEEDED:
        content = (folder / name).read_bytes()
        assert content == (golden_checkpoint / name).read_bytes()
        assert download.files[name].sha256 == hashlib.sha256(content).hexdigest()
    assert download.revision == hub.commit
    assert json.loads((folder / "download.json").read_text())["revision"] == hub.commit
    total = sum(entry.bytes for entry in download.files.values())
    assert reported[-1][1:] == (total, total)
    assert [done for _, done, _ in reported] == sorted(done for _, done, _ in reported)
    # The token is sent to the hub alone, and nobody receives anything but these requests.
    assert all(headers.get("authorization") == "Bearer hf_own" for kind, _, _, headers in hub.requests if kind == "hub")
    assert not [headers for kind, _, _, headers in hub.requests if kind == "cdn" and "authorization" in headers]
    assert {path for _, _, path, _ in hub.requests if path.startswith("/api/models")} == {
        "/api/models/lion-ai/MedImageInsights/revision/main?blobs=true"
    }
    assert not [path for _, _, path, _ in hub.requests if "telemetry" in path]
    assert not [headers for *_, headers in hub.requests if "torch/" in headers.get("user-agent", "")]


def test_a_second_call_downloads_nothing(hub: Hub, tmp_path: Path) -> None:
    first = download_release(PUBLIC_RELEASE, tmp_path / "release")
    hub.requests.clear()
    assert download_release(PUBLIC_RELEASE, tmp_path / "release") == first
    assert hub.downloads() == []


def test_an_interrupted_download_continues_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    folder, size = tmp_path / "release", len(hub.files[f"2024.09.27/{WEIGHTS}"])
    hub.cut_after = size // 3
    assert failure(PUBLIC_RELEASE, folder).code == "hub_cut_off"
    (partial,) = folder.glob("vision_model/.*.part")
    arrived = partial.stat().st_size
    assert 0 < arrived < size
    hub.cut_after = None
    hub.requests.clear()
    reported: list[int] = []
    download_release(PUBLIC_RELEASE, folder, progress=lambda name, done, total: reported.append(done))
    ranges = [headers.get("range") for kind, _, _, headers in hub.requests if kind == "cdn" and "range" in headers]
    assert f"bytes={arrived}-" in ranges
    assert reported[0] >= arrived
    assert (folder / WEIGHTS).read_bytes() == hub.files[f"2024.09.27/{WEIGHTS}"]
    assert not list(folder.rglob("*.part"))


def test_content_with_another_checksum_is_removed(hub: Hub, tmp_path: Path) -> None:
    hub.corrupt = True
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_wrong_hash"
    assert not [name for name in files_below(tmp_path / "release") if name.endswith((".part", ".json"))]
    hub.corrupt = False
    download_release(PUBLIC_RELEASE, tmp_path / "release")


def test_a_small_file_with_another_checksum_is_refused(hub: Hub, tmp_path: Path) -> None:
    listed = hub.info()
    hub.info = lambda: listed  # type: ignore[method-assign]
    config = hub.files["2024.09.27/config.yaml"]
    hub.files["2024.09.27/config.yaml"] = config[:-1] + b" "
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_wrong_hash"


@pytest.mark.parametrize(
    ("status", "error_code", "code"),
    [
        (401, "", "hub_no_access"),
        (401, "RepoNotFound", "hub_no_access"),
        (403, "GatedRepo", "hub_no_access"),
        (403, "", "hub_no_access"),
        (404, "RepoNotFound", "hub_not_found"),
        (404, "RevisionNotFound", "hub_not_found"),
        (404, "", "hub_not_found"),
        (429, "", "hub_unreachable"),
        (500, "", "hub_unreachable"),
        (503, "", "hub_unreachable"),
        (400, "", "hub_invalid"),
    ],
)
def test_status_of_the_hub_has_a_code(hub: Hub, tmp_path: Path, status: int, error_code: str, code: str) -> None:
    hub.failure = (status, error_code)
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == code


def test_names_that_do_not_exist(hub: Hub, tmp_path: Path) -> None:
    repository, folder = PUBLIC_RELEASE.repository, PUBLIC_RELEASE.folder
    for release in (
        Release(repository="lion-ai/other", folder=folder),
        Release(repository=repository, folder="2025.01.01"),
        Release(repository=repository, folder=folder, revision="v9"),
    ):
        assert failure(release, tmp_path / "release").code == "hub_not_found"


def test_a_wrong_token_is_no_access(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = failure(PUBLIC_RELEASE, tmp_path / "release")
    assert error.code == "hub_no_access"
    assert "HF_TOKEN" in error.message
    assert "hf_wrong" not in error.message


def test_no_server_and_no_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_unreachable"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.info = lambda: ["a page of a proxy"]  # type: ignore[method-assign, assignment, return-value]
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_invalid"


def test_a_proxy_is_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    close_session()
    try:
        assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_unreachable"
    finally:
        close_session()
    assert hub.requests == []


def test_offline_uses_a_complete_download_and_nothing_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "release"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert failure(PUBLIC_RELEASE, folder).code == "hub_offline"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    online = download_release(PUBLIC_RELEASE, folder)
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download_release(PUBLIC_RELEASE, folder) == online
    (folder / "config.yaml").write_text("changed")
    assert failure(PUBLIC_RELEASE, folder).code == "hub_offline"
    assert hub.requests == []


def test_a_full_disk_is_refused_before_the_download(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 1000))
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_no_space"
    assert hub.downloads() == []


def test_a_disk_that_fills_meanwhile(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_no_space"


def test_limits_and_what_a_hub_must_list(hub: Hub, tmp_path: Path) -> None:
    listed = hub.info()

    def change(**values: object) -> None:
        info = json.loads(json.dumps(listed))
        next(file for file in info["siblings"] if file["rfilename"].endswith("config.yaml")).update(values)
        hub.info = lambda: info  # type: ignore[method-assign]

    change(size=1 << 40)
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_too_large"
    change(blobId=None)
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_invalid"
    change(size="many")
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_invalid"
    hub.commit = "../main"
    hub.info = lambda: {**listed, "sha": "../main"}  # type: ignore[method-assign]
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_invalid"
    assert hub.downloads() == []


def test_a_users_own_file_is_not_replaced(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "config.yaml").write_text("mine")
    assert failure(PUBLIC_RELEASE, tmp_path / "release").code == "hub_file_exists"
    assert (tmp_path / "release" / "config.yaml").read_text() == "mine"


def test_a_new_version_replaces_the_files_of_an_earlier_download(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    download_release(PUBLIC_RELEASE, folder)
    hub.files["2024.09.27/config.yaml"] += b"# changed\n"
    hub.commit = "2e" * 20
    assert download_release(PUBLIC_RELEASE, folder).revision == hub.commit
    assert (folder / "config.yaml").read_bytes().endswith(b"# changed\n")


def test_removal_leaves_other_files(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    download = download_release(PUBLIC_RELEASE, folder)
    (folder / "vision_model" / "notes.txt").write_text("mine")
    remove_download(download, folder)
    assert files_below(folder) == {"vision_model/notes.txt"}


@pytest.mark.parametrize("name", ["x", "../x/y", "a/b/c", "https://hub/a", "a b/c", ""])
def test_names_of_another_form_are_a_wrong_call(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Release(repository=name, folder="2024.09.27")
    assert caught.value.code == "hub_name_invalid"
    with pytest.raises(InputError):
        Release(repository="a/b", folder="../up")
