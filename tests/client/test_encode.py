"""Requests: the server receives the pixels that the local model uses, in batches."""

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
from tests.client.scripted_server import KEY, ScriptedServer, encode
from tests.toy import DIM

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_of_source_gives_the_same_embedding(
    endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray], tmp_path: Path
) -> None:
    data, path = encode(arrays[0]), tmp_path / "image.png"
    path.write_bytes(data)
    uri = f"data:image/png;base64,{base64.encodebytes(data).decode()}"
    expected = model.embed_images(arrays[0])
    assert expected.shape == (DIM,)
    for source in (
        *(path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), uri),
        *(Image.fromarray(arrays[0]), arrays[0]),
    ):
        np.testing.assert_array_equal(endpoint.embed_images(source), expected)


def test_files_are_sent_unchanged(endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray]) -> None:
    data = encode(arrays[0], "JPEG")
    endpoint.embed_images(data)
    assert server.sent_cells(0) == [[base64.b64encode(data).decode()]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize("preprocessing", ["direct", "azure"])
def test_arrays(toy_bundle: Path, server: ScriptedServer, dtype: type, shape: Any, preprocessing: Any) -> None:
    array = (np.random.default_rng(3).standard_normal(shape) * 100).astype(dtype)
    with (
        MedImageInsight.load(toy_bundle, threads=1, preprocessing=preprocessing) as local,
        Endpoint(server.url, preprocessing=preprocessing) as endpoint,
    ):
        np.testing.assert_array_equal(endpoint.embed_images(array), local.embed_images(array))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_pil_images(endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray], mode: str) -> None:
    source = Image.fromarray(arrays[0])
    image = source.convert("L" if mode == "I;16" else "P" if mode == "PA" else mode).convert(mode)
    np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))


def test_the_exif_orientation_is_sent(endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(arrays[0], exif=exif)))
    assert not np.array_equal(model.embed_images(image), model.embed_images(arrays[0]))
    np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_dicom(endpoint: Endpoint, model: MedImageInsight, name: str) -> None:
    path = get_testdata_file(name, download=False)
    expected = model.embed_images(path)
    np.testing.assert_array_equal(endpoint.embed_images([path, dcmread(path)]), [expected, expected])


@pytest.mark.parametrize("with_meta", [True, False])
def test_a_dataset_made_in_memory(endpoint: Endpoint, model: MedImageInsight, *, with_meta: bool) -> None:
    dataset = Dataset()
    if with_meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 6, 5, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.arange(30, dtype=np.uint16).tobytes()
    np.testing.assert_array_equal(endpoint.embed_images(dataset), model.embed_images(dataset))


def test_a_chosen_frame(endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    pages = [Image.fromarray(array) for array in arrays[1:3]]
    stack = encode(arrays[0], "TIFF", save_all=True, append_images=pages)
    np.testing.assert_array_equal(endpoint.embed_images(stack, frame=2), model.embed_images(arrays[2]))
    with pytest.raises(ImageError) as caught:
        endpoint.embed_images(stack, frame=3)
    assert caught.value.code == "image_frame_out_of_range"


def test_the_form_of_a_request(endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray]) -> None:
    endpoint.embed_images(arrays[:2])
    ((path, headers, body),) = server.requests
    assert path == "/score"
    assert (headers["Authorization"], headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")
    assert body["params"] == {"get_scaling_factor": False, "response_shape": "rows"}
    assert body["input_data"]["columns"] == ["image", "text"]
    assert body["input_data"]["index"] == [0, 1]
    assert [row[1] for row in body["input_data"]["data"]] == [None, None]


def test_batches_by_number(server: ScriptedServer, arrays: list[np.ndarray]) -> None:
    with Endpoint(server.url, batch_size=3) as endpoint:
        endpoint.embed_images(arrays[:7])
        endpoint.embed_images(arrays[:7], batch_size=5)
        endpoint.classify(arrays[:4], ["a", "b"])
    assert [len(cells) for cells in server.sent_cells(0)] == [3, 3, 1, 5, 2, 2, 3, 1, 1]


def test_batches_by_size(
    endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = len(base64.b64encode(encode(arrays[0], "BMP")))
    monkeypatch.setattr("medimageinsight.client.encode.MAX_BODY", 2 * cell)
    endpoint.embed_images([encode(array, "BMP") for array in arrays[:5]])
    assert [len(cells) for cells in server.sent_cells(0)] == [2, 2, 1]
    monkeypatch.setattr("medimageinsight.client.encode.MAX_BODY", 1)
    endpoint.embed_images(arrays[:2])
    assert [len(cells) for cells in server.sent_cells(0)[3:]] == [1, 1]


def test_many_texts_are_several_requests(endpoint: Endpoint, server: ScriptedServer) -> None:
    assert endpoint.embed_texts([f"finding {number}" for number in range(100)]).shape == (100, DIM)
    assert [len(cells) for cells in server.sent_cells(1)] == [64, 36]
