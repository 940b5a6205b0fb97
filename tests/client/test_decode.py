"""What the client makes of an answer: features, a bad row's error, or a failure of the whole request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medimageinsight.errors import EndpointError, ImageError, TextError
from tests.client.scoring import Scoring, refusal, rows

if TYPE_CHECKING:
    from medimageinsight.client import Endpoint


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 415, 500, 502])
def test_a_failure_of_the_whole_request(
    endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], slept: list[float], status: int
) -> None:
    for sources in (pictures[0], pictures[:2]):
        server.script = [refusal(status)]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_images(sources, errors="return")
        assert (caught.value.status, caught.value.code) == (status, "endpoint_failed")
        assert caught.value.message.startswith(f"expected status 200 from the endpoint, got {status} (some_code): ")
    assert slept == []


def test_a_request_that_is_too_large(endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
    server.script = [refusal(413), refusal(413)]
    with pytest.raises(EndpointError, match="smaller batch_size"):
        endpoint.embed_images(pictures[:2], errors="return")
    (error,) = endpoint.embed_images(pictures[:1], errors="return")
    assert isinstance(error, ImageError)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"null", b"[" * 100_000])
def test_an_answer_that_is_no_json(endpoint: Endpoint, server: Scoring, content: bytes) -> None:
    server.script = [(200, {}, content), (500, {}, content)]
    with pytest.raises(EndpointError) as caught:
        endpoint.embed_texts("ct")
    assert (caught.value.code, caught.value.status) == ("endpoint_bad_answer", 200)
    with pytest.raises(EndpointError, match="got 500: "):
        endpoint.embed_texts("ct")


@pytest.mark.parametrize(
    "answer",
    [
        rows(),
        rows({}, {}),
        rows([]),
        rows({}),
        rows({"text_features": [1, 0]}),
        *(
            rows({"image_features": features})
            for features in (
                *(None, 3, "ab", [], [[]], [[], []], [["a"]], [[None]], [[1, [2]]], [[1], [2]], [[[1]]], {}),
                *([[1e300]], [[float("nan")]], [[10**400]]),
            )
        ),
    ],
)
def test_an_answer_of_another_form(endpoint: Endpoint, server: Scoring, answer: Any) -> None:
    server.script = [answer]
    with pytest.raises(EndpointError) as caught:
        endpoint.embed_images(np.zeros((2, 2)), errors="return")
    assert caught.value.code == "endpoint_bad_answer"


@pytest.mark.parametrize("scale", [None, "x", [], float("inf")])
def test_a_scale_that_is_no_number(endpoint: Endpoint, server: Scoring, scale: object) -> None:
    server.script = [rows({"text_features": [1, 0], "scaling_factor": scale})]
    with pytest.raises(EndpointError, match="a number as scaling_factor"):
        _ = endpoint.logit_scale


def test_vectors_of_several_lengths(endpoint: Endpoint, server: Scoring) -> None:
    server.script = [rows({"text_features": [1, 0]}, {"text_features": [1, 0, 0]})]
    with pytest.raises(EndpointError, match="one length"):
        endpoint.embed_texts(["a", "b"])


def test_features_nested_and_flat(endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
    server.script = [rows({"image_features": [[1, 0]]}, {"image_features": [0, 1]})]
    np.testing.assert_array_equal(endpoint.embed_images(pictures[:2]), [[1, 0], [0, 1]])


def test_the_servers_words_are_kept_on_one_line(endpoint: Endpoint, server: Scoring) -> None:
    server.script = [refusal(422, "image_odd")]
    with pytest.raises(ImageError, match="expected this, got that") as caught:
        endpoint.embed_images(np.zeros((2, 2)))
    assert caught.value.code == "image_odd"


@pytest.mark.parametrize("error", ["words", None, {"code": 3, "message": "a"}, {"code": "a"}])
def test_an_error_without_a_reason(endpoint: Endpoint, server: Scoring, error: object) -> None:
    server.script = [rows({"error": error}, {"text_features": [1, 0]})]
    with pytest.raises(TextError) as caught:
        endpoint.embed_texts(["a", "b"])
    assert caught.value.code == "text_refused"
