"""The connections to a server: where they lead, how many there are, and whom they trust."""

from __future__ import annotations

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medimageinsight.client import Endpoint
from medimageinsight.errors import EndpointError, ImageError
from tests.client.scoring import KEY, Scoring, refusal
from tests.toy import LOGIT_SCALE

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/score"), ("/", "/score"), ("/score", "/score"), ("/a/b", "/a/b"), ("/a/score?v=1", "/a/score?v=1")],
)
def test_the_path(server: Scoring, path: str, asked: str) -> None:
    with Endpoint(server.url + path) as endpoint:
        endpoint.embed_texts("ct")
    ((got, headers, _),) = server.requests
    assert got == asked
    assert "Authorization" not in headers


def test_one_connection_serves_many_requests(endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
    endpoint.embed_images(pictures)
    endpoint.embed_texts("ct")
    assert (len(server.requests), server.connections) == (4, 1)


def test_a_connection_that_the_server_closed_is_replaced_without_a_wait(
    endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], slept: list[float]
) -> None:
    server.hangs_up = True
    endpoint.embed_images(pictures)
    assert (len(server.requests), server.connections, slept) == (3, 3, [])


def test_calls_from_many_threads(
    endpoint: Endpoint, server: Scoring, model: MedImageInsight, pictures: list[np.ndarray]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(endpoint.embed_images, pictures))
        scales = set(pool.map(lambda _: endpoint.logit_scale, range(8)))
    np.testing.assert_array_equal(found, [model.embed_images(picture) for picture in pictures])
    assert scales == {LOGIT_SCALE}
    assert server.connections <= 4
    assert len(server.requests) == 21


def test_a_closed_endpoint_refuses(endpoint: Endpoint) -> None:
    endpoint.embed_texts("ct")
    endpoint.close()
    endpoint.close()
    with pytest.raises(EndpointError) as caught:
        endpoint.embed_texts("ct")
    assert caught.value.code == "endpoint_closed"


def test_an_answer_given_before_the_body_was_read(
    endpoint: Endpoint, server: Scoring, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = http.client.HTTPConnection.request

    def interrupted(*args: Any) -> None:
        request(*args)
        raise BrokenPipeError

    server.script = [refusal(413, "request_too_large")]
    with monkeypatch.context() as patch:
        patch.setattr("http.client.HTTPConnection.request", interrupted)
        (error,) = endpoint.embed_images([b"large"], errors="return")
    assert (type(error), error.code, slept) == (ImageError, "request_too_large", [])
    endpoint.embed_texts("ct")
    assert server.connections == 2


def test_a_keys_line_end_is_forgiven(server: Scoring) -> None:
    with Endpoint(server.url, f"{KEY}\n") as endpoint:
        endpoint.embed_texts("ct")
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"


def test_the_key_is_never_shown(server: Scoring) -> None:
    with Endpoint(f"{server.url}/score?code={KEY}", KEY) as endpoint:
        assert repr(endpoint) == f"Endpoint('{server.url}/score')"
        server.script = [refusal(401)]
        with pytest.raises(EndpointError, match="check the key") as caught:
            endpoint.embed_texts("ct")
    assert KEY not in repr(caught.value)
    assert KEY not in str(caught.value)


def test_a_certificate_may_be_trusted_or_none_asked_for(
    secure: Scoring, model: MedImageInsight, certificate: Path
) -> None:
    for verify in (False, ssl.create_default_context(cafile=str(certificate))):
        with Endpoint(secure.url, verify=verify) as endpoint:
            np.testing.assert_array_equal(endpoint.embed_texts("ct"), model.embed_texts("ct"))
