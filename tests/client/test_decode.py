"""Responses: features, the error of a row, or the error of the whole request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medimageinsight.errors import EndpointError, ImageError, TextError
from tests.client.scripted_server import ScriptedServer, error_response, rows_response

if TYPE_CHECKING:
    from medimageinsight.client import Endpoint


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 415, 500, 502])
def test_a_failure_of_the_whole_request(
    endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray], waits: list[float], status: int
) -> None:
    for sources in (arrays[0], arrays[:2]):
        server.script = [error_response(status)]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_images(sources, errors="return")
        assert (caught.value.status, caught.value.code) == (status, "endpoint_failed")
        assert caught.value.message.startswith(f"expected status 200 from the endpoint, got {status} (some_code): ")
    assert waits == []


@pytest.mark.parametrize("status", [404, 405])
def test_the_path_of_a_server_without_a_slash_is_explained(
    endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray], status: int
) -> None:
    server.script = [error_response(status)]
    with pytest.raises(EndpointError, match="slash at its end"):
        endpoint.embed_images(arrays[:1])


def test_too_large_requests(endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray]) -> None:
    server.script = [error_response(413), error_response(413)]
    with pytest.raises(EndpointError, match="smaller batch_size"):
        endpoint.embed_images(arrays[:2], errors="return")
    (error,) = endpoint.embed_images(arrays[:1], errors="return")
    assert isinstance(error, ImageError)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"null", b"[" * 100_000])
def test_a_response_that_is_not_json(endpoint: Endpoint, server: ScriptedServer, content: bytes) -> None:
    server.script = [(200, {}, content), (500, {}, content)]
    with pytest.raises(EndpointError) as caught:
        endpoint.embed_texts("ct")
    assert (caught.value.code, caught.value.status) == ("endpoint_bad_answer", 200)
    with pytest.raises(EndpointError, match="got 500: "):
        endpoint.embed_texts("ct")


@pytest.mark.parametrize(
    "response",
    [
        rows_response(),
        rows_response({}, {}),
        rows_response([]),
        rows_response({}),
        rows_response({"text_features": [1, 0]}),
        *(
            rows_response({"image_features": features})
            for features in (
                *(None, 3, "ab", [], [[]], [[], []], [["a"]], [[None]], [[1, [2]]], [[1], [2]], [[[1]]], {}),
                *([[1e300]], [[float("nan")]], [[10**400]]),
            )
        ),
    ],
)
def test_a_response_of_a_wrong_form(endpoint: Endpoint, server: ScriptedServer, response: Any) -> None:
    server.script = [response]
    with pytest.raises(EndpointError) as caught:
        endpoint.embed_images(np.zeros((2, 2)), errors="return")
    assert caught.value.code == "endpoint_bad_answer"


@pytest.mark.parametrize("scale", [None, "x", [], float("inf")])
def test_a_scaling_factor_that_is_not_a_number(endpoint: Endpoint, server: ScriptedServer, scale: object) -> None:
    server.script = [rows_response({"text_features": [1, 0], "scaling_factor": scale})]
    with pytest.raises(EndpointError, match="a number as scaling_factor"):
        _ = endpoint.logit_scale


def test_vectors_of_several_lengths(endpoint: Endpoint, server: ScriptedServer) -> None:
    server.script = [rows_response({"text_features": [1, 0]}, {"text_features": [1, 0, 0]})]
    with pytest.raises(EndpointError, match="one length"):
        endpoint.embed_texts(["a", "b"])


def test_features_nested_and_flat(endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray]) -> None:
    server.script = [rows_response({"image_features": [[1, 0]]}, {"image_features": [0, 1]})]
    np.testing.assert_array_equal(endpoint.embed_images(arrays[:2]), [[1, 0], [0, 1]])


def test_the_message_of_the_server_is_on_one_line(endpoint: Endpoint, server: ScriptedServer) -> None:
    server.script = [error_response(422, "image_odd")]
    with pytest.raises(ImageError, match="expected this, got that") as caught:
        endpoint.embed_images(np.zeros((2, 2)))
    assert caught.value.code == "image_odd"


@pytest.mark.parametrize("error", ["words", None, {"code": 3, "message": "a"}, {"code": "a"}])
def test_an_error_without_a_reason(endpoint: Endpoint, server: ScriptedServer, error: object) -> None:
    server.script = [rows_response({"error": error}, {"text_features": [1, 0]})]
    with pytest.raises(TextError) as caught:
        endpoint.embed_texts(["a", "b"])
    assert caught.value.code == "text_refused"
