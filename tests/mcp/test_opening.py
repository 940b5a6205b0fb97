"""The folders, stores and taggers that a server opens, and their names."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from medimageinsight.errors import MedImageInsightError
from medimageinsight.mcp import McpSettings, open_tools
from medimageinsight.schemas import TagArguments
from medimageinsight.tagging import load_tagger, save_tagger
from tests.windowed_ct import LUNG, ct_bytes, windowed

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


def test_images_have_the_window_of_the_tagger(workspace, tmp_path: Path) -> None:
    (workspace.scans / "window.dcm").write_bytes(ct_bytes())
    tagger = load_tagger(workspace.tagger)
    recorded = dataclasses.replace(tagger, model=tagger.model.with_window("lung"))
    save_tagger(recorded, tmp_path / "lung.json")
    settings = McpSettings(folders=[workspace.scans], taggers=[tmp_path / "lung.json"], model="mini")
    with open_tools(settings) as tools:
        arguments = TagArguments(images=["window.dcm"], tagger="lung")
        (found,) = tools.tag(arguments).data.results
        lung = tools.model.embed_images([windowed(LUNG)])
        (expected,) = tagger.scores(lung, tools.model.embed_texts, tools.model.logit_scale)
        assert [tag.score for tag in found.tags.values()] == pytest.approx(expected.tolist(), abs=1e-4)
        with pytest.raises(MedImageInsightError) as caught:
            tools.tag(arguments.model_copy(update={"window": "bone"}))
        assert caught.value.code == "adapter_other_model"
    (workspace.scans / "window.dcm").unlink()


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
