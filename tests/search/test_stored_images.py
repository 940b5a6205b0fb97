"""Image files of stored items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight import search
from tests.search.sample_items import code_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one image, next to a secret file; the current folder is their parent."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"image")
    (tmp_path / "secret.png").write_bytes(b"secret")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images"


def hit(path: str) -> search.Hit:
    return search.Hit(id="1", path=path, score=1.0, metadata={})


def test_finds_an_image_by_any_form_of_its_path(folder: Path) -> None:
    for path in ("a.png", "images/a.png", str(folder / "a.png"), "./a.png", "../images/a.png"):
        assert search.find_image(hit(path), [folder]) == folder / "a.png"
        assert search.find_image(path, [folder.parent / "none", folder]) == folder / "a.png"


def test_follows_links_inside_the_folder(folder: Path) -> None:
    (folder / "b.png").symlink_to(folder / "a.png")
    assert search.find_image("b.png", [folder]) == folder / "a.png"


@pytest.mark.parametrize(
    "path", ["../secret.png", "images/../secret.png", "secret.png", "link.png", "out/secret.png", "loop.png", ".",
             "", "no.png", "nul\0.png", "a" * 5000, "/etc/hostname"],
)  # fmt: skip
def test_refuses_files_outside_the_folder(folder: Path, path: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "out").symlink_to(folder.parent)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    assert code_of(lambda: search.find_image(path, [folder])) == "picture_not_available"
    assert code_of(lambda: search.find_image(str(folder.parent / "secret.png"), [folder])) == "picture_not_available"


def test_without_folders_no_image_is_available(folder: Path) -> None:
    assert code_of(lambda: search.find_image("images/a.png", [])) == "picture_not_available"
