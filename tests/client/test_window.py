"""The window of an endpoint: what it sends is what the local model sees."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from medimageinsight.client import Endpoint
from medimageinsight.errors import InputError
from tests.client.scripted_server import KEY
from tests.windowed_ct import BONE, HOUNSFIELD, LUNG, ct_bytes, ct_file, stretched, windowed

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.client.scripted_server import ScriptedServer


@pytest.mark.parametrize(
    ("window", "pixels"),
    [("lung", windowed(LUNG)), ((400, 1800), windowed(BONE)), (1, windowed(BONE)), ("1%-99%", stretched(1, 99))],
)
def test_files_and_datasets(
    endpoint: Endpoint, model: MedImageInsight, tmp_path: Path, window: str, pixels: np.ndarray
) -> None:
    sources = [ct_bytes(), ct_file(tmp_path), pydicom.dcmread(io.BytesIO(ct_bytes()))]
    expected = np.stack([model.embed_images(pixels)] * 3)
    np.testing.assert_array_equal(endpoint.embed_images(sources, window=window), expected)


def test_arrays_of_more_than_8_bits(endpoint: Endpoint, model: MedImageInsight) -> None:
    array = (HOUNSFIELD.astype(np.int32) + 1024).astype(np.uint16)
    by_hand = model.embed_images(windowed(LUNG))
    np.testing.assert_array_equal(endpoint.embed_images(array, window=(-600 + 1024, 1500)), by_hand)


def test_the_window_of_the_endpoint_and_of_a_call(server: ScriptedServer, model: MedImageInsight) -> None:
    with Endpoint(server.url, KEY, window="lung") as endpoint:
        lung, bone = (endpoint.embed_images(ct_bytes(), window=window) for window in (None, "bone"))
    np.testing.assert_array_equal(lung, model.embed_images(windowed(LUNG)))
    np.testing.assert_array_equal(bone, model.embed_images(windowed(BONE)))


def test_a_wrong_window_is_refused_before_anything_is_sent(endpoint: Endpoint, server: ScriptedServer) -> None:
    with pytest.raises(InputError) as caught:
        endpoint.embed_images(ct_bytes(), window="lungs", errors="return")
    assert caught.value.code == "window_invalid"
    with pytest.raises(InputError):
        Endpoint(server.url, KEY, window="40/0")
