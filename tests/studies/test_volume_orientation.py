"""DICOM slices and the same volume in other formats, converted by dcm2niix and by SimpleITK, give the same images."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import images, studies
from tests.studies.phantom import ACQUISITIONS, SHAPE, TILTED, write_series

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nibabel", reason="volumes need the extra")


def convert_with_dcm2niix(folder: Path, out: Path) -> Path:
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (apt install dcm2niix)")
    out.mkdir()
    subprocess.run(
        ["dcm2niix", "-z", "y", "-b", "n", "-f", "volume", "-o", out, folder], check=True, capture_output=True
    )
    [found] = out.glob("*.nii.gz")
    return found


def convert_with_simpleitk(folder: Path, out: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the independent reader is a tool of the tests")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    sitk.WriteImage(reader.Execute(), str(out))


def pixels(source: Path, **options: object) -> np.ndarray:
    """Every image of a source, (N, H, W, 3)."""
    [study] = studies.read(source, **options)
    [series] = study.series
    return np.stack([images.load(image, window="40/400") for image in series.images])


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
def test_dcm2niix_gives_the_same_images(tmp_path: Path, name: str, plane: str | None) -> None:
    dicom = write_series(tmp_path / "dicom", ACQUISITIONS[name])
    nifti = convert_with_dcm2niix(dicom, tmp_path / "nifti")
    expected, found = pixels(dicom, plane=plane), pixels(nifti, plane=plane)
    assert found.shape == expected.shape
    # The positions of NIfTI are float32: resampled values may round to the other of two neighbours.
    difference = np.abs(expected.astype(int) - found)
    assert difference.max() <= (0 if plane is None or plane == name else 1)
    assert len(np.unique(expected)) > 100


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_simpleitk_gives_the_same_images(tmp_path: Path, name: str, ending: str) -> None:
    dicom = write_series(tmp_path / "dicom", ACQUISITIONS[name])
    (tmp_path / "converted").mkdir()
    volume = tmp_path / "converted" / f"volume{ending}"
    convert_with_simpleitk(dicom, volume)
    expected = pixels(dicom)
    assert expected.shape[0] == SHAPE[0]
    assert np.array_equal(pixels(volume), expected)
    assert np.array_equal(pixels(volume.parent), expected)  # a detached data file is no image of its own


@pytest.mark.parametrize("slope", [2.0, 0.7])
def test_scaled_values_have_the_same_window(tmp_path: Path, slope: float) -> None:
    dicom = write_series(tmp_path / "dicom", ACQUISITIONS["axial"], slope=slope)
    nifti = convert_with_dcm2niix(dicom, tmp_path / "nifti")
    assert np.abs(pixels(dicom).astype(int) - pixels(nifti)).max() <= (0 if slope == 2 else 1)  # slopes are float32


def test_positions_are_those_of_dicom(tmp_path: Path) -> None:
    for name, acquisition in ACQUISITIONS.items():
        dicom = write_series(tmp_path / name, acquisition)
        nifti = convert_with_dcm2niix(dicom, tmp_path / f"{name}-nifti")
        [expected], [found] = ([s.series[0] for s in studies.read(source)] for source in (dicom, nifti))
        assert np.allclose(
            [image.position_mm for image in found.images], [image.position_mm for image in expected.images], atol=1e-3
        )


def test_a_tilted_gantry_is_resampled_by_its_true_axes(tmp_path: Path) -> None:
    straight = pixels(write_series(tmp_path / "straight", ACQUISITIONS["axial"]), plane="sagittal")
    tilted = pixels(write_series(tmp_path / "tilted", TILTED), plane="sagittal")
    # Values depend on the position alone: away from the mark and the border, both acquisitions show the same.
    assert tilted.shape[1] == straight.shape[1]
    inner = slice(6, 17)
    assert np.abs(straight[:6, 5:20, inner].astype(int) - tilted[:6, 5:20, inner]).max() <= 2
