"""Real volumes: formats, archives and DICOM slices give the same images."""

from __future__ import annotations

import importlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import images, studies
from tests.images.dicom_datasets import make_dataset, to_file_bytes

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nibabel", reason="volumes need the extra")

VOLUMES = ("MR_Gd.nii.gz", "anatomical.nii", "example4d.nii.gz", "functional.nii")


def pixels(source: Path, count: int = 8, **options: object) -> list[np.ndarray]:
    [study] = studies.read(source, select=f"even:{count}", **options)
    return [images.load(image) for image in study.series[0].selected()]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_formats_agree_on_real_volumes(shared: Path, tmp_path: Path, name: str, ending: str) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the independent reader is a tool of the tests")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    source = shared / "data" / "samples" / "nifti" / name
    image = sitk.ReadImage(str(source))
    if image.GetDimension() == 4:
        image = image[..., 0]
    sitk.WriteImage(image, str(tmp_path / f"volume{ending}"), useCompression=ending == ".mha")
    for plane in (None, "axial", "sagittal"):
        expected, found = pixels(source, plane=plane), pixels(tmp_path / f"volume{ending}", plane=plane)
        assert len(found) == len(expected)
        for one, another in zip(found, expected, strict=True):
            # ITK scales with 32-bit floats; all else is the same
            assert one.shape == another.shape
            assert np.abs(one.astype(int) - another).max() <= 1


def test_a_header_and_its_data_in_an_archive(shared: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the independent writer is a tool of the tests")
    source = shared / "data" / "samples" / "nifti" / "anatomical.nii"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(tmp_path / "volume.mhd"))
    with zipfile.ZipFile(tmp_path / "volume.zip", "w") as archive:
        for name in ("volume.mhd", "volume.raw"):
            archive.write(tmp_path / name, f"patient/{name}")
        archive.write(source, "other/anatomical.nii")
    found = list(studies.read(tmp_path / "volume.zip"))
    first, second = ([images.load(image) for image in study.series[0].images] for study in found)
    assert all(map(np.array_equal, first, second))
    for study in found:
        image = study.series[0].images[3]
        assert np.array_equal(images.load(studies.open_image(str(image.origin))), images.load(image))


@pytest.mark.parametrize("plane", [None, "coronal"])
def test_a_real_oblique_volume_is_that_of_its_dicom_slices(shared: Path, tmp_path: Path, plane: str | None) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the independent reader is a tool of the tests")
    source = sitk.ReadImage(str(shared / "data" / "samples" / "nifti" / "MR_Gd.nii.gz"))
    image = sitk.Cast(source[:, :, 40:72], sitk.sitkInt16)
    sitk.WriteImage(image, str(tmp_path / "volume.nii.gz"))
    write_slices(tmp_path / "dicom", image)
    expected, found = (pixels(tmp_path / name, count=32, plane=plane) for name in ("dicom", "volume.nii.gz"))
    assert len(found) == len(expected) > 30
    for one, another in zip(found, expected, strict=True):
        assert np.abs(one.astype(int) - another).max() <= (0 if plane is None else 1)


def write_slices(folder: Path, image: object) -> None:
    """Write an image of SimpleITK as DICOM slices, whose first row is at the front and first column at the right."""
    folder.mkdir()
    values = importlib.import_module("SimpleITK").GetArrayFromImage(image)  # slices, rows, columns
    axes, spacing = np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing()
    backwards = [axes[axis, axis] < 0 for axis in range(2)]
    row, column = (axes[:, axis] * (-1 if backwards[axis] else 1) for axis in range(2))
    corner = [image.GetWidth() - 1 if backwards[0] else 0, image.GetHeight() - 1 if backwards[1] else 0]
    for index, pixels_of_slice in enumerate(values):
        shown = pixels_of_slice[:: -1 if backwards[1] else 1, :: -1 if backwards[0] else 1]
        dataset = make_dataset(
            np.ascontiguousarray(shown),
            Modality="MR",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
            InstanceNumber=index + 1,
            ImagePositionPatient=[
                f"{number:.10g}" for number in image.TransformIndexToPhysicalPoint([*map(int, corner), index])
            ],
            ImageOrientationPatient=[f"{number:.10g}" for number in (*row, *column)],
            PixelSpacing=[spacing[1], spacing[0]],
        )
        (folder / f"{index}.dcm").write_bytes(to_file_bytes(dataset))
