"""Spellings of paths."""

from __future__ import annotations

from pathlib import Path

from medimageinsight.files.paths import canonical_path, join_table_path, path_below


def test_a_file_has_one_spelling_and_a_link_to_a_file_its_own(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "link").symlink_to("images")
    (tmp_path / "images" / "b.png").symlink_to("a.png")
    monkeypatch.chdir(tmp_path)
    spellings = [
        "images/a.png",
        "./images//a.png",
        "images/../images/a.png",
        "link/a.png",
        str(tmp_path / "link/a.png"),
    ]
    assert len({canonical_path(path) for path in spellings}) == 1
    assert canonical_path("link/b.png") == str(Path("images").resolve() / "b.png")


def test_backslashes_separate_unless_a_file_has_them_in_its_name(tmp_path):
    assert join_table_path(tmp_path, r"a\b.png") == tmp_path / "a" / "b.png"
    (tmp_path / r"a\b.png").touch()
    assert join_table_path(tmp_path, r"a\b.png") == tmp_path / r"a\b.png"


def test_absolute_paths_below_a_root(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    assert path_below(tmp_path / "images" / "x" / "1.png", tmp_path / "images") == Path("x/1.png")
    assert path_below(tmp_path / "images" / "1.png", tmp_path / "link") == Path("1.png")
    assert path_below(tmp_path / "images" / ".." / "1.png", tmp_path / "images") is None
