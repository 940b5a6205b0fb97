"""What stands in a request, and how many of them there are."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from medimageinsight.client import Endpoint
from tests.client.scoring import KEY, Scoring, encoded
from tests.toy import DIM

if TYPE_CHECKING:
    import numpy as np
    import pytest


def test_what_is_sent(endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
    endpoint.embed_images(pictures[:2])
    ((path, headers, body),) = server.requests
    assert path == "/score"
    assert (headers["Authorization"], headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")
    assert body["params"] == {"get_scaling_factor": False, "response_shape": "rows"}
    assert body["input_data"]["columns"] == ["image", "text"]
    assert body["input_data"]["index"] == [0, 1]
    assert [row[1] for row in body["input_data"]["data"]] == [None, None]


def test_batches_by_number(server: Scoring, pictures: list[np.ndarray]) -> None:
    with Endpoint(server.url, batch_size=3) as endpoint:
        endpoint.embed_images(pictures[:7])
        endpoint.embed_images(pictures[:7], batch_size=5)
        endpoint.classify(pictures[:4], ["a", "b"])
    assert [len(cells) for cells in server.cells(0)] == [3, 3, 1, 5, 2, 2, 3, 1, 1]


def test_batches_by_size(
    endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = len(base64.b64encode(encoded(pictures[0], "BMP")))
    monkeypatch.setattr("medimageinsight.client.encode.LARGEST_BODY", 2 * cell)
    endpoint.embed_images([encoded(picture, "BMP") for picture in pictures[:5]])
    assert [len(cells) for cells in server.cells(0)] == [2, 2, 1]
    monkeypatch.setattr("medimageinsight.client.encode.LARGEST_BODY", 1)
    endpoint.embed_images(pictures[:2])
    assert [len(cells) for cells in server.cells(0)[3:]] == [1, 1]


def test_many_texts_are_several_requests(endpoint: Endpoint, server: Scoring) -> None:
    assert endpoint.embed_texts([f"finding {number}" for number in range(100)]).shape == (100, DIM)
    assert [len(cells) for cells in server.cells(1)] == [64, 36]
