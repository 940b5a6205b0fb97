"""Slides as series of tiles: formats, resolution, tissue, edges, what is left out."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits
from tests.studies.make_slides import (
    shrunk,
    stained,
    write_dicom,
    write_ndpi,
    write_ome,
    write_pyramid,
    write_svs,
)

if TYPE_CHECKING:
    from medimageinsight.studies import Series

pytest.importorskip("tiffslide", reason="slides need the slides extra")
pytest.importorskip("wsidicom", reason="slides need the slides extra")
pytest.importorskip("skimage", reason="slides need the slides extra")

SMALL = studies.SlideOptions(tile_pixels=128)
ALL = studies.SlideOptions(tile_pixels=128, min_tissue=0)


def read_one(path: Path, options: studies.SlideOptions = SMALL) -> Series:
    (study,) = studies.read(path, slides=options)
    (series,) = study.series
    assert series.kind == "slide"
    return series


def count_open_files() -> int:
    """The open files of this process; 0 where the system does not list them."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def pixels_of(series: Series, index: int) -> np.ndarray:
    return images.load(series.images[index])


@pytest.mark.parametrize(
    "write", [write_svs, write_ome, write_pyramid, write_dicom], ids=["svs", "ome", "pyramid", "dicom"]
)
def test_tiles_of_each_format_are_the_stored_pixels_of_tissue(tmp_path: Path, write) -> None:
    slide = stained()
    series = read_one(write(tmp_path / "slide", slide))
    assert series.selected_indices() == list(range(len(series.images)))
    regions = [image.origin.region for image in series.images]
    # Tissue is the left half of rows 192 to 576: of the first and last row of tiles in it, half is tissue.
    assert regions == [(x, y, 128, 128) for y in range(128, 640, 128) for x in range(0, 512, 128)]
    for index, (x, y, w, h) in enumerate(regions):
        assert np.array_equal(pixels_of(series, index), slide[y : y + h, x : x + w])


def test_a_hamamatsu_file_is_read_in_the_parts_between_its_restart_markers(tmp_path: Path) -> None:
    slide = stained()
    series = read_one(write_ndpi(tmp_path / "s.ndpi", slide))
    expected = read_one(write_svs(tmp_path / "s.svs", slide))
    assert [image.origin.region for image in series.images] == [image.origin.region for image in expected.images]
    difference = np.abs(pixels_of(series, 5).astype(int) - pixels_of(expected, 5))
    assert difference.mean() < 6
    (study,) = studies.read((tmp_path / "s.ndpi").read_bytes(), slides=SMALL)
    assert np.array_equal(pixels_of(study.series[0], 5), pixels_of(series, 5))


@pytest.mark.parametrize("write", [write_svs, write_ome, write_dicom], ids=["svs", "ome", "dicom"])
def test_a_lower_resolution_comes_from_the_level_that_has_it(tmp_path: Path, write) -> None:
    slide = stained()
    series = read_one(write(tmp_path / "slide", slide), studies.SlideOptions(microns_per_pixel=2, tile_pixels=64))
    level = shrunk(slide, 4)
    for index, image in enumerate(series.images):
        x, y, w, h = image.origin.region
        assert (w, h, image.origin.microns_per_pixel) == (256, 256, 2.0)
        assert np.array_equal(pixels_of(series, index), level[y // 4 : y // 4 + 64, x // 4 : x // 4 + 64])


def test_a_resolution_between_two_levels_is_reduced_from_the_finer(tmp_path: Path) -> None:
    slide = stained()
    options = studies.SlideOptions(microns_per_pixel=1, tile_pixels=64, min_tissue=0)
    series = read_one(write_svs(tmp_path / "s.svs", slide), options)
    assert len(series.images) == 8 * 6
    expected = shrunk(slide, 2)
    difference = np.abs(pixels_of(series, 9).astype(int) - expected[64:128, 64:128])
    assert difference.max() <= 1


def test_edge_tiles_end_with_the_slide_and_overlap_their_neighbours(tmp_path: Path) -> None:
    slide = stained(300, 200)
    series = read_one(write_svs(tmp_path / "s.svs", slide, levels=(1,)), ALL)
    assert [image.origin.region[:2] for image in series.images] == [
        (0, 0),
        (128, 0),
        (172, 0),
        (0, 72),
        (128, 72),
        (172, 72),
    ]
    assert np.array_equal(pixels_of(series, 5), slide[72:200, 172:300])
    overlapping = read_one(tmp_path / "s.svs", studies.SlideOptions(tile_pixels=128, overlap=64, min_tissue=0))
    assert [image.origin.region[0] for image in overlapping.images][:4] == [0, 64, 128, 172]


def test_a_slide_smaller_than_a_tile_is_one_tile_without_padding(tmp_path: Path) -> None:
    slide = stained(100, 60, tissue=False)
    series = read_one(write_svs(tmp_path / "s.svs", slide, levels=(1,)))
    assert len(series.images) == 1
    assert np.array_equal(pixels_of(series, 0), slide)


def test_a_slide_without_tissue_is_an_error_unless_all_tiles_are_asked_for(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "s.svs", stained(tissue=False))
    with pytest.raises(ImageError) as caught:
        list(studies.read(path, slides=SMALL))
    assert caught.value.code == "slide_no_tissue"
    assert len(read_one(path, ALL).images) == 48


def test_a_slide_full_of_tissue_uses_all_its_tiles(tmp_path: Path) -> None:
    slide = np.ascontiguousarray(stained(1024, 1024)[256:768, :512])
    assert len(read_one(write_svs(tmp_path / "s.svs", slide)).images) == 16


def test_grey_slides_and_slides_with_black_edges_have_tissue(tmp_path: Path) -> None:
    slide = stained()
    grey = np.asarray(np.round(slide @ [0.299, 0.587, 0.114]), np.uint8)
    found = read_one(write_pyramid(tmp_path / "grey.tif", grey, photometric="minisblack"))
    assert {image.origin.region[0] for image in found.images} == {0, 128, 256, 384}
    slide[:, 900:] = 3
    black = read_one(write_pyramid(tmp_path / "black.tif", slide))
    assert max(image.origin.region[0] for image in black.images) == 384


@pytest.mark.parametrize(
    ("mpp", "power", "code", "region"),
    [
        ("0", "40", "slide_resolution_assumed", 256),
        (None, "40", "slide_resolution_assumed", 256),
        ("nan", None, "slide_resolution_unknown", 128),
        ("-1", "0", "slide_resolution_unknown", 128),
        ("352.8", None, "slide_resolution_unknown", 128),
        ("1.0", "10", "slide_resolution_lower", 128),
    ],
)
def test_a_missing_or_wrong_resolution_is_stated_with_what_was_used(tmp_path: Path, mpp, power, code, region) -> None:
    series = read_one(write_svs(tmp_path / "s.svs", stained(), mpp=mpp, power=power, associated=False))
    assert code in [warning.code for warning in series.warnings]
    assert series.images[0].origin.region[2] == region


def test_labels_and_macro_images_are_left_out_and_named(tmp_path: Path) -> None:
    svs = read_one(write_svs(tmp_path / "s.svs", stained()))
    dicom = read_one(write_dicom(tmp_path / "dicom", stained(), extras=("LABEL", "OVERVIEW", "THUMBNAIL")))
    for series, names in ((svs, ("label", "macro", "thumbnail")), (dicom, ("label", "overview", "thumbnail"))):
        (warning,) = [warning for warning in series.warnings if warning.code == "slide_images_excluded"]
        assert all(name in warning.message for name in names)
    assert len(dicom.images) == len(svs.images)


@pytest.mark.parametrize(
    "options",
    [{"sparse": True}, {"parts": 3}, {"jpeg": True}, {"sparse": True, "parts": 2}],
    ids=["sparse", "concatenated", "jpeg", "sparse concatenated"],
)
def test_dicom_slides_of_every_organisation_have_the_same_tiles(tmp_path: Path, options) -> None:
    slide = stained()
    full = read_one(write_dicom(tmp_path / "full", slide))
    other = read_one(write_dicom(tmp_path / "other", slide, **options))
    assert [image.origin.region for image in other.images] == [image.origin.region for image in full.images]
    for index in (0, len(full.images) - 1):
        difference = np.abs(pixels_of(full, index).astype(int) - pixels_of(other, index))
        assert difference.mean() < (6 if "jpeg" in options else 1e-9)


def test_frames_that_a_sparse_slide_does_not_store_are_white(tmp_path: Path) -> None:
    slide = stained()
    series = read_one(write_dicom(tmp_path / "s", slide, factors=(1,), sparse=True, missing=frozenset({0, 17})), ALL)
    assert (pixels_of(series, 0) == 255).all()
    assert np.array_equal(pixels_of(series, 1), slide[:128, 128:256])


def test_a_pyramid_is_a_slide_but_pages_and_small_tiled_images_are_not(tmp_path: Path) -> None:
    import tifffile

    pages = np.zeros((3, 64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "tiled.tif", stained(256, 256), tile=(128, 128), photometric="rgb")
    tifffile.imwrite(tmp_path / "tiled_pages.tif", pages, tile=(16, 16), photometric="minisblack")
    kinds = {study.source: study.series[0].kind for study in studies.read(tmp_path)}
    assert {Path(name).name: kind for name, kind in kinds.items()} == {
        "pages.tif": "frames",
        "tiled.tif": "image",
        "tiled_pages.tif": "frames",
    }


def test_the_options_are_written_as_text_and_checked() -> None:
    options = studies.SlideOptions.parse("mpp=1, tile=480,overlap=48,tissue=0.5")
    assert options == studies.SlideOptions(microns_per_pixel=1, tile_pixels=480, overlap=48, min_tissue=0.5)
    assert studies.SlideOptions.parse("") == studies.SlideOptions()
    for text in ("mpp=0", "mpp=nan", "tile=5", "tile=100000", "tile=100.5", "overlap=256", "tissue=2", "x=1", "mpp"):
        with pytest.raises(InputError) as caught:
            studies.SlideOptions.parse(text)
        assert caught.value.code == "slide_options_invalid"


def test_more_tiles_than_the_limit_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "s.svs", stained())
    for options in (ALL, SMALL):
        with pytest.raises(ImageError) as caught:
            list(studies.read(path, slides=options, limits=Limits(max_frames=10)))
        assert caught.value.code == "slide_too_large"


def test_a_tile_is_opened_again_from_its_origin(tmp_path: Path) -> None:
    slide = stained()
    paths = [write_svs(tmp_path / "s.svs", slide), write_dicom(tmp_path / "dicom", slide, parts=2, extras=("LABEL",))]
    for path in paths:
        for options in (SMALL, studies.SlideOptions(microns_per_pixel=1.3, tile_pixels=100)):
            series = read_one(path, options)
            for index in (0, 3):
                again = studies.open_image(str(series.images[index].origin))
                assert np.array_equal(images.load(again), pixels_of(series, index))


def test_threads_read_the_same_tiles_and_no_file_stays_open(tmp_path: Path) -> None:
    slide = stained()
    paths = [write_svs(tmp_path / "s.svs", slide, compression="jpeg"), write_dicom(tmp_path / "d", slide)]
    paths += [write_svs(tmp_path / f"{number}.svs", slide) for number in range(8)]
    before = count_open_files()
    all_series = [read_one(path) for path in paths]
    expected = [[pixels_of(series, index) for index in range(4)] for series in all_series]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(2):
            jobs = [threads.submit(pixels_of, series, index) for index in range(4) for series in all_series]
            results = [job.result() for job in jobs]
    for job, result in enumerate(results):
        assert np.array_equal(result, expected[job % len(paths)][job // len(paths)])
    del all_series, jobs
    gc.collect()
    assert count_open_files() <= before
