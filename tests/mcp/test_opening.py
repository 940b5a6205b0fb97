"""What a server opens, and under which names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from medimageinsight.errors import MedImageInsightError
from medimageinsight.mcp.run import McpSettings, opened

if TYPE_CHECKING:
    from pathlib import Path


def code_of(settings: McpSettings) -> str:
    with pytest.raises(MedImageInsightError) as caught, opened(settings):
        pass
    return caught.value.code


def test_names(place) -> None:
    settings = McpSettings(
        folders=[place.scans], stores=[f"a={place.store}", str(place.store)], taggers=[place.tagger], model="mini"
    )
    with opened(settings) as tools:
        assert list(tools.stores) == ["a", "cases"]
        assert list(tools.taggers) == ["kinds"]
        assert tools.folders == [place.scans.resolve()]


def test_an_equals_sign_in_a_folders_name_is_no_name(place, tmp_path: Path) -> None:
    odd = tmp_path / "x=y"
    shutil.copytree(place.store, odd)
    with opened(McpSettings(folders=[tmp_path], stores=[str(odd)], model="mini")) as tools:
        assert list(tools.stores) == ["x=y"]


def test_what_is_refused(place, toy_bundle: Path, tmp_path: Path) -> None:
    store, folders = str(place.store), [place.scans]
    toy = str(toy_bundle)
    assert code_of(McpSettings(folders=[], model="mini")) == "folder_missing"
    assert code_of(McpSettings(folders=[place.outside], model="mini")) == "folder_not_found"
    assert code_of(McpSettings(folders=folders, stores=[store, store], model="mini")) == "names_equal"
    assert code_of(McpSettings(folders=folders, stores=[f"x={tmp_path}/no"], model="mini")) == "store_not_found"
    assert code_of(McpSettings(folders=folders, stores=[store], model=toy)) == "store_other_model"
    assert code_of(McpSettings(folders=folders, taggers=[place.tagger], model=toy)) == "adapter_other_model"
