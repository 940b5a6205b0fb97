"""What a source is sent as: the server sees what the local model would see."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from medimageinsight.errors import ImageError
from tests.client.scoring import Scoring, encoded
from tests.toy import DIM

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_of_source_is_the_same_picture(
    endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    data, path = encoded(pictures[0]), tmp_path / "picture.png"
    path.write_bytes(data)
    uri = f"data:image/png;base64,{base64.encodebytes(data).decode()}"
    expected = model.embed_images(pictures[0])
    assert expected.shape == (DIM,)
    for source in (
        *(path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), uri),
        *(Image.fromarray(pictures[0]), pictures[0]),
    ):
        np.testing.assert_array_equal(endpoint.embed_images(source), expected)


def test_files_are_sent_as_they_are(endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
    data = encoded(pictures[0], "JPEG")
    endpoint.embed_images(data)
    assert server.cells(0) == [[base64.b64encode(data).decode()]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize("preprocessing", ["direct", "azure"])
def test_arrays(toy_bundle: Path, server: Scoring, dtype: type, shape: Any, preprocessing: Any) -> None:
    array = (np.random.default_rng(3).standard_normal(shape) * 100).astype(dtype)
    with (
        MedImageInsight.load(toy_bundle, threads=1, preprocessing=preprocessing) as local,
        Endpoint(server.url, preprocessing=preprocessing) as endpoint,
    ):
        np.testing.assert_array_equal(endpoint.embed_images(array), local.embed_images(array))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_pil_images(endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray], mode: str) -> None:
    picture = Image.fromarray(pictures[0])
    image = picture.convert("L" if mode == "I;16" else "P" if mode == "PA" else mode).convert(mode)
    np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))


def test_an_images_orientation_is_kept(endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(pictures[0], exif=exif)))
    assert not np.array_equal(model.embed_images(image), model.embed_images(pictures[0]))
    np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_dicom(endpoint: Endpoint, model: MedImageInsight, name: str) -> None:
    path = get_testdata_file(name, download=False)
    expected = model.embed_images(path)
    np.testing.assert_array_equal(endpoint.embed_images([path, dcmread(path)]), [expected, expected])


@pytest.mark.parametrize("with_meta", [True, False])
def test_a_dataset_that_was_never_a_file(endpoint: Endpoint, model: MedImageInsight, *, with_meta: bool) -> None:
    dataset = Dataset()
    if with_meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 6, 5, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.arange(30, dtype=np.uint16).tobytes()
    np.testing.assert_array_equal(endpoint.embed_images(dataset), model.embed_images(dataset))


def test_a_chosen_frame(endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    others = [Image.fromarray(picture) for picture in pictures[1:3]]
    stack = encoded(pictures[0], "TIFF", save_all=True, append_images=others)
    np.testing.assert_array_equal(endpoint.embed_images(stack, frame=2), model.embed_images(pictures[2]))
    with pytest.raises(ImageError) as caught:
        endpoint.embed_images(stack, frame=3)
    assert caught.value.code == "image_frame_out_of_range"
