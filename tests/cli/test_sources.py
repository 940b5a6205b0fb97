from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from medimageinsight.cli.errors import SourceFailedError
from medimageinsight.cli.sources import list_sources

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_is_every_file_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "b/.hidden", ".git/x", "a", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [os.path.relpath(one, tmp_path) for one in list_sources([str(tmp_path)])]
    assert found == ["a", "c", "b/1", "b/2"]


def test_other_names_stay_as_they_are(tmp_path: Path) -> None:
    names = ["-", "no/such.png", "data:image/png;base64,AAAA", "https://example.org/x.png"]
    assert list_sources(names) == names


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as raised:
        list_sources([str(tmp_path)])
    assert raised.value.source == str(tmp_path)
    assert raised.value.error.code == "folder_empty"
