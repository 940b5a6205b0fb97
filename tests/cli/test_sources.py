from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from medimageinsight.cli.errors import SourceFailedError
from medimageinsight.cli.sources import list_sources

if TYPE_CHECKING:
    from pathlib import Path


def test_folder_is_replaced_by_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "b/.hidden", ".git/x", "a", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    paths = [os.path.relpath(path, tmp_path) for path in list_sources([str(tmp_path)])]
    assert paths == ["a", "c", "b/1", "b/2"]


def test_other_names_are_unchanged(tmp_path: Path) -> None:
    names = ["-", "no/such.png", "data:image/png;base64,AAAA", "https://example.org/x.png"]
    assert list_sources(names) == names


def test_rejects_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as raised:
        list_sources([str(tmp_path)])
    assert raised.value.source == str(tmp_path)
    assert raised.value.error.code == "folder_empty"
