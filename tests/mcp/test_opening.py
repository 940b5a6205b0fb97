"""The folders, stores and taggers that a server opens, and their names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from medimageinsight.errors import MedImageInsightError
from medimageinsight.mcp import McpSettings, open_tools

if TYPE_CHECKING:
    from pathlib import Path


def code_of(settings: McpSettings) -> str:
    with pytest.raises(MedImageInsightError) as caught, open_tools(settings):
        pass
    return caught.value.code


def test_stores_and_taggers_have_names(workspace) -> None:
    settings = McpSettings(
        folders=[workspace.scans],
        stores=[f"a={workspace.store}", str(workspace.store)],
        taggers=[workspace.tagger],
        model="mini",
    )
    with open_tools(settings) as tools:
        assert list(tools.stores) == ["a", "cases"]
        assert list(tools.taggers) == ["kinds"]
        assert tools.folders == [workspace.scans.resolve()]


def test_an_equals_sign_in_a_folder_name_is_part_of_the_path(workspace, tmp_path: Path) -> None:
    odd = tmp_path / "x=y"
    shutil.copytree(workspace.store, odd)
    with open_tools(McpSettings(folders=[tmp_path], stores=[str(odd)], model="mini")) as tools:
        assert list(tools.stores) == ["x=y"]


def test_errors_of_opening(workspace, toy_bundle: Path, tmp_path: Path) -> None:
    store, folders = str(workspace.store), [workspace.scans]
    toy = str(toy_bundle)
    assert code_of(McpSettings(folders=[], model="mini")) == "folder_missing"
    assert code_of(McpSettings(folders=[workspace.outside], model="mini")) == "folder_not_found"
    assert code_of(McpSettings(folders=folders, stores=[store, store], model="mini")) == "names_equal"
    assert code_of(McpSettings(folders=folders, stores=[f"x={tmp_path}/no"], model="mini")) == "store_not_found"
    assert code_of(McpSettings(folders=folders, stores=[store], model=toy)) == "store_other_model"
    assert code_of(McpSettings(folders=folders, taggers=[workspace.tagger], model=toy)) == "adapter_other_model"
