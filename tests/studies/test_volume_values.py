"""Slices of volumes are the images of their pixels as arrays, bit for bit, in every type of values."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight, images, studies
from medimageinsight.errors import ImageError
from medimageinsight.studies import shared as shared_module

if TYPE_CHECKING:
    from pathlib import Path

nibabel = pytest.importorskip("nibabel", reason="volumes need the extra")
nrrd = pytest.importorskip("nrrd", reason="volumes need the extra")

RAS = np.diag([2.0, 2.0, 2.0, 1.0])


def save(path: Path, values: np.ndarray, affine: np.ndarray = RAS, kind: type = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(values, affine), path)
    return path


def series_of(path: Path, **options: object) -> studies.Series:
    [study] = studies.read(path, **options)
    [series] = study.series
    return series


def radiological(values: np.ndarray, index: int) -> np.ndarray:
    """An axial slice of values (x to the right, y anterior, z superior) as a radiologist sees it."""
    return np.swapaxes(values[::-1, ::-1, index], 0, 1)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "f4", ">f8"])
def test_slices_are_their_pixels(tmp_path: Path, dtype: str, ending: str, kind: type) -> None:
    rng = np.random.default_rng(1)
    low, high = (0, 200) if "u" in dtype else (-100, 100)
    values = (rng.uniform(low, high, (9, 11, 4)) * (1 if dtype[-2] in "f" or dtype[-1] == "1" else 50)).astype(dtype)
    path = save(tmp_path / f"volume{ending}", values, kind=kind)
    series = series_of(path)
    assert (series.kind, len(series.images), series.warnings) == ("volume", 4, ())
    for index, image in enumerate(series.images):
        expected = np.ascontiguousarray(radiological(values, index)).astype(np.dtype(dtype).newbyteorder("="))
        assert np.array_equal(images.load(image), images.load(expected))
        for window in () if dtype == "u1" else ("10/40", "1%-99%"):
            assert np.array_equal(images.load(image, window=window), images.load(expected, window=window))


def test_vectors_are_those_of_arrays(toy_bundle: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(-500, 900, (24, 30, 5)).astype(np.int16)
    path = save(tmp_path / "volume.nii.gz", values)
    model = MedImageInsight.load(toy_bundle)
    found = model.embed_images(series_of(path).images)
    expected = model.embed_images([np.ascontiguousarray(radiological(values, index)) for index in range(5)])
    assert found.tobytes() == expected.tobytes()


def test_scaled_values_are_those_of_nibabel(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 4000, (8, 9, 3)).astype(np.uint16)
    image = nibabel.Nifti1Image(values, RAS)
    image.header.set_slope_inter(0.37, -1024)
    nibabel.save(image, tmp_path / "scaled.nii")
    expected = np.asarray(nibabel.load(tmp_path / "scaled.nii").dataobj)
    assert expected.dtype.kind == "f"
    for index, found in enumerate(series_of(tmp_path / "scaled.nii").images):
        pixels = np.ascontiguousarray(radiological(expected, index))
        assert np.array_equal(images.load(found), images.load(pixels))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL", "ASR"])
def test_any_order_of_axes_gives_the_same_images(tmp_path: Path, axes: str) -> None:
    values = np.random.default_rng(4).integers(0, 4000, (8, 9, 5)).astype(np.uint16)
    canonical = nibabel.Nifti1Image(values, RAS)
    orientation = nibabel.orientations.axcodes2ornt(axes)
    turned = canonical.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(RAS), orientation))
    assert "".join(nibabel.aff2axcodes(turned.affine)) == axes
    nibabel.save(turned, tmp_path / "turned.nii")
    nibabel.save(canonical, tmp_path / "canonical.nii")
    expected, found = series_of(tmp_path / "canonical.nii"), series_of(tmp_path / "turned.nii")
    assert [image.position_mm for image in found.images] == [image.position_mm for image in expected.images]
    for one, another in zip(found.images, expected.images, strict=True):
        assert np.array_equal(images.load(one), images.load(another))


def test_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 255, (8, 9, 3, 3)).astype(np.uint8)
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save(tmp_path / "colour.nii.gz", np.ascontiguousarray(pixels).view(rgb)[..., 0])
    for index, image in enumerate(series_of(path).images):
        assert np.array_equal(images.load(image), radiological(pixels, index))
    plane = series_of(path, plane="sagittal").images[2]
    assert np.array_equal(images.load(plane), np.swapaxes(pixels[8 - 1 - (8 - 1 - 2), ::-1, ::-1], 0, 1))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_the_first_of_several_volumes_is_used_and_reported(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(6).integers(0, 4000, (8, 9, 3, 4)).astype(np.int16)
    path = tmp_path / f"functional{ending}"
    if ending == ".nrrd":
        header = {
            "space": "right-anterior-superior",
            "kinds": ["domain", "domain", "domain", "list"],
            "space directions": [[2, 0, 0], [0, 2, 0], [0, 0, 2], [np.nan] * 3],
        }
        nrrd.write(str(path), values, header)
    else:
        save(path, values)
    series = series_of(path)
    assert [warning.code for warning in series.warnings] == ["volume_first_of_several"]
    assert "4 volumes" in series.warnings[0].message
    assert len(series.images) == 3
    for index, image in enumerate(series.images):
        expected = np.ascontiguousarray(radiological(values[..., 0], index))
        assert np.array_equal(images.load(image), images.load(expected))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("first_axis", [False, True])
def test_nrrd_with_vectors_and_encodings(tmp_path: Path, encoding: str, first_axis: bool) -> None:
    values = np.random.default_rng(7).integers(0, 4000, (8, 9, 3)).astype(">i2")
    header = {"space": "left-posterior-superior", "encoding": encoding, "endian": "big"}
    directions = [[-2, 0, 0], [0, -2, 0], [0, 0, 2]]
    if first_axis:
        header |= {"kinds": ["vector", *["domain"] * 3], "space directions": [[np.nan] * 3, *directions]}
        nrrd.write(str(tmp_path / "v.nrrd"), np.stack([values, values + 1]), header)
    else:
        nrrd.write(str(tmp_path / "v.nrrd"), values, header | {"space directions": directions})
    for index, image in enumerate(series_of(tmp_path / "v.nrrd").images):
        expected = np.ascontiguousarray(radiological(values, index)).astype(np.int16)
        assert np.array_equal(images.load(image), images.load(expected))


def test_slices_follow_the_clearly_largest_spacing_or_the_stated_axis(tmp_path: Path) -> None:
    values = np.random.default_rng(8).integers(0, 4000, (6, 9, 12)).astype(np.int16)
    sagittal = save(tmp_path / "sagittal.nii", values, np.diag([4.0, 0.6, 0.6, 1]))
    assert len(series_of(sagittal).images) == 6
    assert len(series_of(sagittal, plane="axial").images) == 12
    stated = nibabel.Nifti1Image(values, RAS)
    stated.header.set_dim_info(slice=1)
    nibabel.save(stated, tmp_path / "stated.nii")
    assert len(series_of(tmp_path / "stated.nii").images) == 9


def test_a_preset_is_applied_and_reported_as_an_assumption(tmp_path: Path) -> None:
    values = np.random.default_rng(9).integers(-1000, 1000, (8, 9, 3)).astype(np.int16)
    image = series_of(save(tmp_path / "ct.nii", values)).images[0]
    decoded = images.open(image, window="soft tissue")
    assert [warning.code for warning in decoded.warnings] == ["hounsfield_assumed"]
    assert np.array_equal(images.load(image, window="soft-tissue"), images.load(image, window="50/400"))
    assert images.open(image, window="50/400").warnings == ()
    with pytest.raises(ImageError) as caught:
        images.open(image, window="0")
    assert caught.value.code == "image_window_not_applicable"


def test_missing_values_are_black_and_do_not_count(tmp_path: Path) -> None:
    values = np.random.default_rng(10).uniform(10, 20, (8, 9, 3)).astype(np.float32)
    values[2, 3, 1] = np.nan
    image = series_of(save(tmp_path / "map.nii", values)).images[1]
    pixels = images.load(image)
    filled = np.where(np.isnan(values), np.nanmin(values[..., 1]), values)
    assert np.array_equal(pixels, images.load(np.ascontiguousarray(radiological(filled, 1))))


def test_a_volume_is_read_once_for_all_threads_and_then_freed(tmp_path: Path) -> None:
    values = np.random.default_rng(11).integers(0, 4000, (8, 9, 40)).astype(np.int16)
    path = save(tmp_path / "volume.nii.gz", values)
    series = series_of(path)
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(images.load, series.images))
    path.unlink()  # the values are in memory
    assert all(map(np.array_equal, first, map(images.load, series.images)))
    gc.collect()  # of volumes of other tests
    before = len(shared_module._items)
    del series
    gc.collect()
    assert len(shared_module._items) == before - 1


def test_nothing_remains_of_a_volume_that_is_cut_off(tmp_path: Path) -> None:
    values = np.random.default_rng(12).integers(0, 4000, (8, 9, 40)).astype(np.int16)
    path = save(tmp_path / "volume.nii.gz", values)
    path.write_bytes(path.read_bytes()[:-100])
    series = series_of(path)
    gc.collect()  # of volumes of other tests
    before = len(shared_module._items)
    for image in series.images[:2]:
        with pytest.raises(ImageError):
            images.load(image)
    assert len(shared_module._items) == before + 1  # the error
    del series, image
    gc.collect()
    assert len(shared_module._items) == before
