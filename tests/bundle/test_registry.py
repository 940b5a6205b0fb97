"""Models are found by name, by path, and by environment variables."""

from __future__ import annotations

import shutil

import pytest

from medimageinsight.bundle import find, home, installed, registry
from medimageinsight.errors import BundleError


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MI2_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


def install(toy_bundle, name):
    return shutil.copytree(toy_bundle, home() / "models" / name)


def test_a_name_is_found_in_the_user_folder(toy_bundle):
    folder = install(toy_bundle, "medimageinsight")
    assert find("medimageinsight") == folder
    assert [model.name for model in installed() if not model.builtin] == ["medimageinsight"]


def test_the_environment_selects_the_default_model(toy_bundle, monkeypatch):
    folder = install(toy_bundle, "own")
    monkeypatch.setenv("MI2_MODEL", "own")
    assert find() == folder
    monkeypatch.setenv("MI2_MODEL", str(toy_bundle))
    assert find() == toy_bundle


def test_the_default_is_the_built_in_model(toy_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "BUILTIN", tmp_path / "builtin")
    folder = shutil.copytree(toy_bundle, tmp_path / "builtin" / "mini")
    install(toy_bundle, "mini")
    assert find() == find("mini") == folder
    assert [(model.name, model.builtin) for model in installed()] == [("mini", True)]


def test_a_path_is_returned(toy_bundle, tmp_path):
    assert find(toy_bundle) == toy_bundle
    shutil.copytree(toy_bundle, tmp_path / "here")
    assert find("here").resolve() == tmp_path / "here"
    assert find("./here").resolve() == tmp_path / "here"


def test_an_unknown_name_lists_the_known_ones(toy_bundle):
    install(toy_bundle, "own")
    with pytest.raises(BundleError, match=r"'larger'.*mini, medimageinsight, own") as caught:
        find("larger")
    assert caught.value.code == "bundle_not_found"


def test_a_missing_known_model_explains_how_to_get_it():
    with pytest.raises(BundleError, match="mi2 convert CHECKPOINT --out"):
        find("medimageinsight")


def test_an_empty_folder_is_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="mi2 convert") as caught:
        find(tmp_path)
    assert caught.value.code == "bundle_not_found"


@pytest.mark.parametrize(
    ("platform", "variable", "tail"),
    [("linux", "XDG_CACHE_HOME", ()), ("win32", "LOCALAPPDATA", ()), ("darwin", "HOME", ("Library", "Caches"))],
)
def test_home_is_the_cache_folder_of_the_platform(tmp_path, monkeypatch, platform, variable, tail):
    monkeypatch.delenv("MI2_HOME")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert home() == tmp_path.joinpath(*tail, "medimageinsight")
