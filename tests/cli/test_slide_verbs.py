"""Slides in the command line: tiles as sources, an interrupted call, heat maps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.studies.make_slides import stained, write_dicom, write_svs

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tiffslide", reason="slides need the slides extra")
pytest.importorskip("wsidicom", reason="slides need the slides extra")
pytest.importorskip("skimage", reason="slides need the slides extra")

TILES = ("--slides", "tile=128")


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_svs(tmp_path / "slide.svs", stained())


def vectors(result) -> np.ndarray:
    return np.array([row["embedding"] for row in result.json], dtype=np.float32)


def test_a_slide_gives_its_tiles_and_one_pooled_vector(mi2, slide: Path, tmp_path: Path) -> None:
    found = mi2("embed", slide, *TILES, "--json")
    assert found.code == 0
    assert [row["source"] for row in found.json][:2] == [
        f"{slide}#region=0,128,128,128&mpp=0.5",
        f"{slide}#region=128,128,128,128&mpp=0.5",
    ]
    assert "label, macro" in found.err
    pooled = mi2("embed", slide, "--level", "series", "--pooling", "mean", *TILES, "--json")
    mean = vectors(found).mean(axis=0)
    assert np.allclose(vectors(pooled)[0], mean / np.linalg.norm(mean), atol=1e-6)
    again = mi2("embed", found.json[1]["source"], "--json")
    assert again.json[0]["embedding"] == found.json[1]["embedding"]
    folder = write_dicom(tmp_path / "dicom", stained())
    dicom = mi2("embed", folder, "--level", "series", "--pooling", "mean", *TILES, "--json")
    assert np.allclose(vectors(dicom), vectors(pooled), atol=1e-6)


def test_without_options_a_slide_is_read_in_tiles_too(mi2, slide: Path) -> None:
    found = mi2("embed", slide, "--json")
    assert len(found.json) > 1
    assert all("mpp=0.5" in row["source"] for row in found.json)


def test_tiles_of_an_interrupted_call_are_not_embedded_again(
    mi2, slide: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    """A process that is killed leaves results, with which the next call ends as if nothing had happened."""
    whole, out = tmp_path / "whole.npy", tmp_path / "out.npy"
    call = ("embed", slide, "--slides", "tile=32,tissue=0")
    assert mi2(*call, "--out", whole).code == 0
    code = """
import sys, os, signal
from medimageinsight.cli import partial_results
append = partial_results.PartialResults.append
def killed(self, result):
    append(self, result)
    if self.count == 100:
        os.kill(os.getpid(), signal.SIGKILL)
partial_results.PartialResults.append = killed
from medimageinsight.cli.main import main
main(sys.argv[1:])
"""
    words = [str(word) for word in (*call, "--out", out, "--model", toy_bundle)]
    process = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, env=os.environ, check=False)
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    resumed = mi2(*call, "--out", out, "--resume", "--model", toy_bundle)
    assert resumed.code == 0, resumed.err
    assert np.array_equal(np.load(out), np.load(whole))
    assert json.loads(out.with_name("out.npy.json").read_text()) == json.loads(
        whole.with_name("whole.npy.json").read_text()
    )


def test_a_heat_map_of_a_text_and_an_image(mi2, slide: Path, tmp_path: Path) -> None:
    png, geojson = tmp_path / "map.png", tmp_path / "map.geojson"
    found = mi2("heatmap", slide, "--text", "tumour", *TILES, "--out", png, "--geojson", geojson, "--json")
    assert found.code == 0, found.err
    with Image.open(png) as image:
        assert image.format == "PNG"
    features = json.loads(geojson.read_text("utf-8"))["features"]
    scores = [tile["similarity"] for tile in found.json["tiles"]]
    assert [feature["properties"]["measurements"]["tumour"] for feature in features] == pytest.approx(scores, abs=1e-5)
    assert (found.json["lowest"], found.json["highest"]) == (min(scores), max(scores))
    tile = found.json["tiles"][2]["source"]
    compared = mi2("compare", tile, "--text", "tumour", "--json")
    assert compared.json["similarity"] == pytest.approx(scores[2], abs=1e-5)
    Image.fromarray(stained()[192:320, :128]).save(tmp_path / "a.png")
    by_image = mi2("heatmap", slide, "--image", tmp_path / "a.png", *TILES, "--json")
    assert by_image.json["highest"] > 0.9


def test_a_heat_map_of_stored_vectors(mi2, slide: Path, tmp_path: Path) -> None:
    for name in ("t.parquet", "t.npy", "t.jsonl"):
        stored = tmp_path / name
        assert mi2("embed", slide, *TILES, "--out", stored).code == 0
        with_stored = mi2("heatmap", slide, "--vectors", stored, *TILES, "--text", "tumour", "--json")
        direct = mi2("heatmap", slide, *TILES, "--text", "tumour", "--json")
        assert with_stored.json == direct.json
    other = mi2("heatmap", slide, "--vectors", stored, "--slides", "tile=64", "--text", "tumour", "--json")
    assert other.json["error"]["code"] == "vectors_other_slide"


def test_calls_that_cannot_work_are_refused(mi2, slide: Path, image_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    for words, code in (
        ((slide, "--out", out), "query_invalid"),
        ((slide, "--text", "a", "--image", image_files[0], "--out", out), "query_invalid"),
        ((image_files[0], "--text", "a"), "slide_expected"),
        ((slide, "--text", "a", "--slides", "tile=1"), "slide_options_invalid"),
    ):
        result = mi2("heatmap", *words, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, code)
    assert mi2("heatmap", slide, "--text", "a").code == 2
    assert mi2("heatmap", slide, "--text", "a", "--out", tmp_path / "none" / "map.png").code != 0
    assert not out.exists()
