"""Regions, overviews and descriptions of slides for viewers, heat maps, and slides without a file of their own."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError
from tests.studies.make_slides import shrunk, stained, write_dicom, write_ome, write_svs

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tiffslide", reason="slides need the slides extra")
pytest.importorskip("wsidicom", reason="slides need the slides extra")
pytest.importorskip("skimage", reason="slides need the slides extra")

SMALL = studies.SlideOptions(tile_pixels=128)


def test_a_region_has_the_pixels_of_the_slide_and_white_outside(tmp_path: Path) -> None:
    slide = stained()
    for path in (write_svs(tmp_path / "s.svs", slide), write_dicom(tmp_path / "d", slide) / "level0-0.dcm"):
        same = studies.read_region(path, (100, 200, 300, 150), (300, 150))
        assert np.array_equal(np.asarray(same), slide[200:350, 100:400])
        outside = np.asarray(studies.read_region(path, (-50, 700, 100, 100), (100, 100)))
        assert (outside[:, :50] == 255).all()
        assert (outside[68:] == 255).all()
        assert np.array_equal(outside[:68, 50:], slide[700:768, :50])
        assert np.array_equal(np.asarray(studies.read_region(path, (0, 0, 1024, 768), (256, 192))), shrunk(slide, 4))
        assert studies.read_region(path, (0, 0, 8, 8), (64, 64)).size == (64, 64)


def test_a_thumbnail_and_a_description(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "s.tif", stained(), unit="nm")
    assert studies.read_thumbnail(path, 100).size == (100, 75)
    assert studies.read_thumbnail(path, 4096).size == (1024, 768)
    info = studies.describe_slide(path)
    assert (info.width, info.height, info.microns_per_pixel) == (1024, 768, (0.5, 0.5))
    assert [level.downsample for level in info.levels] == [1, 2, 4]
    folder = write_dicom(tmp_path / "d", stained(), extras=("LABEL",))
    assert studies.describe_slide(folder).levels == studies.describe_slide(folder / "level1-0.dcm").levels
    assert [level.width for level in studies.describe_slide(folder).levels] == [1024, 256]


def test_other_files_are_no_slides(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(stained(64, 64)).save(image)
    for source, code in (
        (image, "image_not_a_slide"),
        (tmp_path / "none.svs", "image_not_found"),
        (b"x", "image_not_a_slide"),
    ):
        with pytest.raises(ImageError) as caught:
            studies.describe_slide(source)
        assert caught.value.code == code
    for region, size in (((0, 0, 0, 5), (5, 5)), ((0, 0, 5, 5), (0, 5)), ((0, 0, 5, 5), (9999, 5))):
        with pytest.raises(InputError) as invalid:
            studies.read_region(image, region, size)
        assert invalid.value.code == "region_invalid"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first, second = stained(), stained(600, 400, seed=1)
    path = write_svs(tmp_path / "s.svs", first)
    assert studies.describe_slide(path).width == 1024
    write_svs(path, second)
    assert studies.describe_slide(path).width == 600


def test_slides_in_archives_and_in_memory(tmp_path: Path) -> None:
    slide = stained()
    svs = write_svs(tmp_path / "s.svs", slide)
    folder = write_dicom(tmp_path / "dicom", slide)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(svs, "one/s.svs")
        for member in folder.iterdir():
            file.write(member, f"two/{member.name}")
    expected = next(studies.read(svs, slides=SMALL)).series[0]
    found = [series for study in studies.read(archive, slides=SMALL) for series in study.series]
    assert len(found) == 2
    found += next(studies.read(svs.read_bytes(), slides=SMALL)).series
    for series in found:
        assert [image.origin.region for image in series.images] == [image.origin.region for image in expected.images]
        assert np.array_equal(images.load(series.images[3]), images.load(expected.images[3]))
    again = studies.open_image(str(found[0].images[3].origin))
    assert np.array_equal(images.load(again), images.load(expected.images[3]))


def test_a_heat_map_has_the_scores_at_their_tiles(tmp_path: Path) -> None:
    series = next(studies.read(write_svs(tmp_path / "s.svs", stained()), slides=SMALL)).series[0]
    scores = np.linspace(-0.5, 0.5, len(series.images))
    heat_map = studies.HeatMap.of(series, scores, name="a $text$ with 文 and π")
    grid = heat_map.grid()
    assert grid.shape == (768, 1024)
    for (x, y, _, _), score in zip(heat_map.regions.tolist(), scores, strict=True):
        assert np.allclose(grid[y : y + 128, x : x + 128], score)
    assert np.isnan(grid[:, 512:]).all()
    heat_map.save_png(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as png:
        assert png.format == "PNG"
        assert min(png.size) > 300
    part = studies.HeatMap.of(series, [1.0], indices=[2])
    assert part.regions.tolist() == [list(series.images[2].origin.region)]


def test_overlapping_tiles_of_a_heat_map_are_averaged(tmp_path: Path) -> None:
    options = studies.SlideOptions(tile_pixels=128, overlap=64, min_tissue=0)
    path = write_svs(tmp_path / "s.svs", stained(256, 128), levels=(1,))
    series = next(studies.read(path, slides=options)).series[0]
    grid = studies.HeatMap.of(series, [1, 2, 3]).grid()
    assert [grid[64, x] for x in (32, 96, 160, 224)] == [1, 1.5, 2.5, 3]


def test_geojson_has_closed_rings_in_pixels_of_the_highest_resolution(tmp_path: Path) -> None:
    options = studies.SlideOptions(tile_pixels=64, microns_per_pixel=2)
    series = next(studies.read(write_svs(tmp_path / "s.svs", stained()), slides=options)).series[0]
    heat_map = studies.HeatMap.of(series, np.arange(len(series.images)) / 7, name="tumour")
    heat_map.save_geojson(tmp_path / "map.geojson")
    document = json.loads((tmp_path / "map.geojson").read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    assert len({feature["id"] for feature in document["features"]}) == len(series.images)
    for image, feature, score in zip(series.images, document["features"], heat_map.scores, strict=True):
        x, y, w, h = image.origin.region
        (ring,) = feature["geometry"]["coordinates"]
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Polygon")
        assert ring == [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
        assert feature["properties"] == {"objectType": "tile", "measurements": {"tumour": round(score, 6)}}


def test_scores_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    series = next(studies.read(write_svs(tmp_path / "s.svs", stained()), slides=SMALL)).series[0]
    plain = tmp_path / "a.png"
    Image.fromarray(stained(64, 64)).save(plain)
    other = next(studies.read(plain)).series[0]
    for wrong, scores in ((series, [1.0]), (series, [np.nan] * len(series.images)), (other, [1.0])):
        with pytest.raises(InputError) as caught:
            studies.HeatMap.of(wrong, scores)
        assert caught.value.code == "heat_map_invalid"


def test_openslide_and_tiffslide_read_the_same_pixels(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="compares with OpenSlide")
    from medimageinsight.studies.slides.openslide_pyramid import OpenSlidePyramid

    slide = stained()
    path = write_svs(tmp_path / "s.svs", slide, compression="jpeg", tile=256)
    other = OpenSlidePyramid(path)
    try:
        assert other.stated_resolution == (0.5, 0.5)
        assert [(level.width, level.height) for level in other.levels] == [(1024, 768), (256, 192)]
        mine = np.asarray(studies.read_region(path, (130, 300, 200, 150), (200, 150))).astype(int)
        difference = np.abs(other.read_level(0, 130, 300, 200, 150) - mine)
        assert difference.max() <= 2
    finally:
        other.close()
