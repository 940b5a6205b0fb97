"""The display of every sample file against DCMTK, an independent implementation of the standard.

DCMTK applies what it is asked to: here the first VOI LUT, else the first window, else the range of the values, without
overlays, as this package does. Where it cannot read a kind of file, or follows another rule, `reason_to_skip` and
`dcmtk_input` say so by kind, never by name.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.uid import (
    HTJ2K,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from medimageinsight import images
from medimageinsight.errors import ImageError
from tests.images.dicom_datasets import PACKAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

pytestmark = pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="DCMTK (dcmj2pnm) is not installed")

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "samples"
FILES = sorted({path.name: path for folder in (SAMPLES, PACKAGED) for path in folder.rglob("*.dcm")}.values())
MAX_FRAMES = 3
MIN_MAX = ["--min-max-window"]
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"  # unknown to pydicom
JPEG_2000 = (*JPEG2000TransferSyntaxes, HTJ2KLossless, HTJ2K, HTJ2KLosslessRPCL)
MAPS_TOO = images.Limits(accept_maps=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # pydicom's, about what is wrong with some of these files
def test_same_display(path: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(path, force=True)
    if reason := reason_to_skip(dataset):
        pytest.skip(reason)
    for frame, shown in shown_here(path):
        expected = shown_by_dcmtk(path, dataset, frame, tmp_path)
        if shown is None:
            assert expected is None, "refused here, and shown by DCMTK"
            continue
        if expected is None and subprocess.run(["dcmdump", path], capture_output=True, check=False).returncode:
            pytest.skip("DCMTK cannot parse the dataset")
        assert expected is not None, "shown here, and refused by DCMTK"
        assert shown.shape == expected.shape
        if display_options(dataset, frame) == MIN_MAX and shown.min() == shown.max():
            continue  # one value, whose range is empty: black here, white there
        assert np.abs(shown - expected).max() <= 1, f"frame {frame}"


def shown_here(path: Path) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield the first frames' indices and pixels, None for a file that is refused."""
    for frame in range(min(images.count_frames(path.read_bytes()), MAX_FRAMES)):
        try:
            image = images.open(path, frame=frame, limits=MAPS_TOO).image
        except ImageError:
            yield frame, None
        else:
            yield frame, np.asarray(image.convert("RGB"), np.int16)


def reason_to_skip(dataset: Dataset) -> str:
    """Return why DCMTK is no reference for a kind of file, '' if it is."""
    syntax, allocated = dataset.file_meta.get("TransferSyntaxUID"), dataset.get("BitsAllocated")
    float_pixels = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
    reasons = {
        "DCMTK has no floating-point pixels": float_pixels,
        "DCMTK has no segmented palettes": "SegmentedRedPaletteColorLookupTableData" in dataset,
        "DCMTK has no JPEG-LS of fewer than 8 bits": syntax in JPEGLSTransferSyntaxes and dataset.BitsStored < 8,
        "DCMTK has no compressed single bits": allocated == 1 and syntax in (RLELossless, DEFLATED_IMAGE_FRAME),
        # pydicom has the same image in little endian, which both show as it is shown here.
        "DCMTK swaps the words of 32-bit values in big endian": allocated == 32 and syntax == ExplicitVRBigEndian,
        "DCMTK takes a number of frames that is no number for 1": not str(dataset.get("NumberOfFrames") or 1).isdigit(),
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def shown_by_dcmtk(path: Path, dataset: Dataset, frame: int, folder: Path) -> np.ndarray | None:
    """Return the frame as DCMTK shows it, (H, W, 3) int16, or None if it refuses the file."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    program = "dcml2pnm" if syntax in JPEGLSTransferSyntaxes else "dcmj2pnm"
    source, number = dcmtk_input(path, dataset, frame, folder)
    command = [
        program,
        "--quiet",
        "--no-overlays",
        "--accept-acr-nema",
        "--frame",
        str(number),
        *display_options(dataset, frame),
    ]
    output = folder / "shown.pnm"
    output.unlink(missing_ok=True)
    if (
        source is None
        or subprocess.run([*command, str(source), str(output)], capture_output=True, check=False).returncode
    ):
        return None
    return np.asarray(Image.open(output).convert("RGB"), np.int16)


def dcmtk_input(path: Path, dataset: Dataset, frame: int, folder: Path) -> tuple[Path | None, int]:
    """Return a file that DCMTK can read, None if there is none, and the number of the frame in it, from 1."""
    frame_values = functional_group_values(dataset, frame)
    jpeg_2000 = dataset.file_meta.get("TransferSyntaxUID") in JPEG_2000
    if not frame_values and not jpeg_2000:
        return path, frame + 1
    prepared = pydicom.dcmread(path, force=True)
    for keyword, value in frame_values.items():
        setattr(prepared, keyword, value)
    if jpeg_2000:  # DCMTK has no JPEG 2000
        try:
            replace_pixels(prepared, decompressed_frame(dataset, frame))
        except imagecodecs.Jpeg2kError:
            return None, 0
    prepared.save_as(folder / "source.dcm")
    return folder / "source.dcm", 1 if jpeg_2000 else frame + 1


def functional_group_values(dataset: Dataset, frame: int) -> dict[str, Any]:
    """Return rescale and window of one frame, from its own functional groups or the shared ones (PS3.3 C.7.6.16)."""
    shared, per_frame = (dataset.get(f"{kind}FunctionalGroupsSequence", []) for kind in ("Shared", "PerFrame"))
    values = {}
    for groups in [*shared, *per_frame[frame : frame + 1]]:
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in groups.get(macro, []):
                values.update({element.keyword: element.value for element in item})
    return values


def decompressed_frame(dataset: Dataset, frame: int) -> np.ndarray:
    frames = int(dataset.get("NumberOfFrames") or 1)
    return imagecodecs.jpeg2k_decode(get_frame(dataset.PixelData, frame, number_of_frames=frames))


def replace_pixels(dataset: Dataset, values: np.ndarray) -> None:
    """Replace the pixel data by those of one uncompressed frame."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.NumberOfFrames = 1
    if values.ndim == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"


def display_options(dataset: Dataset, frame: int) -> list[str]:
    """Return the options that ask DCMTK for the first VOI LUT, else the first window, else the range of the values."""
    if dataset.get("VOILUTSequence"):
        return ["--use-voi-lut", "1"]
    if dataset.get("SamplesPerPixel", 1) != 1:
        return MIN_MAX
    windows = {"WindowCenter": dataset.get("WindowCenter"), **functional_group_values(dataset, frame)}
    if windows["WindowCenter"] not in (None, ""):
        return ["--use-window", "1"]
    if "PixelPaddingValue" in dataset:  # DCMTK would include it in the range (PS3.3 C.7.5.1.1.2)
        return range_without_padding(dataset, frame)
    return MIN_MAX


def range_without_padding(dataset: Dataset, frame: int) -> list[str]:
    """Return the option that sets the window from the smallest to the largest value (PS3.3 C.11.2.1.2.1)."""
    values = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)[frame]
    values = values[values != dataset.PixelPaddingValue] * dataset.get("RescaleSlope", 1) + dataset.get(
        "RescaleIntercept", 0
    )
    low, high = float(values.min()), float(values.max())
    return ["--set-window", str((low + high) / 2 + 0.5), str(high - low + 1)]
