"""Files and folders replaced in one step, and recovery after a process was killed between the steps of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight.files.atomic import move_folder, replace_file, replace_folder, restore_folder, write_text

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "MODEL_CARD.md", "first")
    write_text(tmp_path / "MODEL_CARD.md", "sécond")
    assert (tmp_path / "MODEL_CARD.md").read_text("utf-8") == "sécond"
    assert names(tmp_path) == ["MODEL_CARD.md"]


def write_half(path: Path) -> None:
    with replace_file(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "first"
        raise KeyboardInterrupt


def test_an_interrupted_write_keeps_the_earlier_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "first")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_fixed_partial_name_is_reused_after_a_killed_writer(tmp_path: Path) -> None:
    partial = tmp_path / "a.partial"
    partial.write_text("left by a killed writer")
    with replace_file(tmp_path / "a", partial=partial) as path:
        path.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_a_folder_is_restored_after_a_kill_between_the_two_steps(tmp_path: Path) -> None:
    target = tmp_path / "best"
    with replace_folder(target) as fresh:
        (fresh / "a").write_text("1")
    target.rename(tmp_path / ".best.earlier")
    restore_folder(target)
    assert (target / "a").read_text() == "1"
    with replace_folder(target) as fresh:
        (fresh / "a").write_text("2")
    assert (target / "a").read_text() == "2"
    assert names(tmp_path) == ["best"]


def test_a_failed_move_restores_the_earlier_folder(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").touch()
    with pytest.raises(FileNotFoundError):
        move_folder(tmp_path / "missing", tmp_path / "target", earlier=tmp_path / "earlier")
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["a"]
