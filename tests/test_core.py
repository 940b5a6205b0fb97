"""The built-in model with the core dependencies alone; continuous integration also runs it on their lowest versions."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from medimageinsight import MedImageInsight
from medimageinsight.tokenizer import clean


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Return a smooth grey image (64, 64) uint8."""
    small = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))


def dicom_bytes(pixels: np.ndarray) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def test_one_image_as_array_png_and_dicom_has_one_embedding(pixels: np.ndarray) -> None:
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    with MedImageInsight.load() as model:
        embeddings = model.embed_images([pixels, png.getvalue(), dicom_bytes(pixels)])
        probabilities = model.classify([pixels], ["x-ray chest", "ultrasound breast"])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embeddings, embeddings[:1].repeat(3, axis=0), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("patientâ€™s left lung", "patient's left lung"),
        ("âˆ’5 mm", "−5 mm"),
        ("cardiac ﬁbrosis", "cardiac fibrosis"),
        ("T2 &amp; FLAIR", "t2 & flair"),
    ],
)
def test_texts_are_repaired(text: str, repaired: str) -> None:
    assert clean(text) == repaired


@pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["index", "add", "--help"], ["verify", "mini"]])
def test_commands_run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "medimageinsight", *arguments], check=True, capture_output=True)
