"""Connections, repeated requests, certificates and proxies; each test runs with httpx and with http.client."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.client import Endpoint
from medimageinsight.errors import EndpointError, ImageError, InputError, MissingExtraError
from tests.client.scripted_server import DROP, KEY, ScriptedServer, error_response, running, running_proxy
from tests.toy import DIM, LOGIT_SCALE

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


class TestConnections:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("", "/score"),
            ("/", "/score"),
            ("//", "/score"),
            ("/score", "/score"),
            ("/score/", "/score"),
            ("/v1", "/score"),
            ("/v1/", "/score"),
            ("/v1//", "/score"),
            ("/v1/embeddings", "/score"),
            ("/mi2/v1", "/mi2/score"),
            ("/mi2/", "/mi2/score"),
            ("/invocations/", "/invocations"),
            ("/a/b", "/a/b"),
            ("/v10", "/v10"),
            ("/a/score?v=1", "/a/score?v=1"),
            ("/v1?v=1", "/score?v=1"),
        ],
    )
    def test_the_path_defaults_to_score(self, server: ScriptedServer, path: str, expected: str) -> None:
        with Endpoint(server.url + path) as endpoint:
            endpoint.embed_texts("ct")
        ((requested, headers, _),) = server.requests
        assert requested == expected
        assert "Authorization" not in headers

    def test_one_connection_serves_many_requests(
        self, endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray]
    ) -> None:
        endpoint.embed_images(arrays)
        endpoint.embed_texts("ct")
        assert (len(server.requests), server.connections) == (4, 1)

    def test_a_connection_closed_by_the_server_is_replaced_without_a_wait(
        self, endpoint: Endpoint, server: ScriptedServer, arrays: list[np.ndarray], waits: list[float]
    ) -> None:
        server.closes_connections = True
        endpoint.embed_images(arrays)
        assert (len(server.requests), server.connections, waits) == (3, 3, [])

    def test_calls_from_many_threads(
        self, endpoint: Endpoint, server: ScriptedServer, model: MedImageInsight, arrays: list[np.ndarray]
    ) -> None:
        with ThreadPoolExecutor(4) as pool:
            embeddings = list(pool.map(endpoint.embed_images, arrays))
            scales = set(pool.map(lambda _: endpoint.logit_scale, range(8)))
        np.testing.assert_array_equal(embeddings, [model.embed_images(array) for array in arrays])
        assert scales == {LOGIT_SCALE}
        assert server.connections <= 4
        assert len(server.requests) == 21

    def test_a_closed_endpoint_rejects_calls(self, endpoint: Endpoint) -> None:
        endpoint.embed_texts("ct")
        endpoint.close()
        endpoint.close()
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert caught.value.code == "endpoint_closed"

    def test_closing_lets_a_request_in_progress_finish(self, server: ScriptedServer) -> None:
        endpoint = Endpoint(server.url, sleep=lambda _: None)
        respond = server.respond
        server.respond = lambda body: (endpoint.close(), respond(body))[1]  # type: ignore[method-assign]
        assert endpoint.embed_texts("ct").shape == (DIM,)

    def test_a_response_sent_before_the_body_was_read(
        self, endpoint: Endpoint, server: ScriptedServer, waits: list[float]
    ) -> None:
        server.reads_no_body = True
        server.script = [error_response(413, "request_too_large")]
        (error,) = endpoint.embed_images([bytes(24 << 20)], errors="return")  # more than the buffers of a socket
        assert (type(error), error.code, waits) == (ImageError, "request_too_large", [])
        server.reads_no_body = False
        endpoint.embed_texts("ct")
        assert server.connections == 2

    def test_redirects_are_not_followed(self, endpoint: Endpoint, server: ScriptedServer) -> None:
        server.script = [error_response(307, Location=f"{server.url}/other")]
        with pytest.raises(EndpointError, match="got 307"):
            endpoint.embed_texts("ct")
        assert len(server.requests) == 1

    def test_responses_are_neither_requested_compressed_nor_decompressed(
        self, endpoint: Endpoint, server: ScriptedServer
    ) -> None:
        server.script = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b'[{"text_features": [1.0, 0.0]}]'))]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert caught.value.code == "endpoint_bad_answer"
        assert server.requests[0][1]["Accept-Encoding"] == "identity"

    def test_cookies_are_ignored(self, endpoint: Endpoint, server: ScriptedServer) -> None:
        server.script = [error_response(503, **{"Set-Cookie": "a=b; Path=/"})]
        endpoint.embed_texts("ct")
        assert "Cookie" not in server.requests[1][1]


class TestKey:
    def test_a_line_end_of_the_key_is_ignored(self, server: ScriptedServer) -> None:
        with Endpoint(server.url, f"{KEY}\n") as endpoint:
            endpoint.embed_texts("ct")
        assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"

    def test_the_key_is_neither_shown_nor_logged(
        self, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with Endpoint(f"{server.url}/score?code={KEY}", KEY) as endpoint:
            assert repr(endpoint) == f"Endpoint('{server.url}/score')"
            server.script = [error_response(401)]
            with pytest.raises(EndpointError, match="check the key") as caught:
                endpoint.embed_texts("a private text")
        assert KEY not in repr(caught.value)
        assert KEY not in str(caught.value)
        assert KEY not in caplog.text
        assert "private" not in caplog.text


class TestRetries:
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_respected(
        self, endpoint: Endpoint, server: ScriptedServer, waits: list[float], status: int
    ) -> None:
        server.script = [error_response(status, **{"Retry-After": wait}) for wait in ("7", "0", "99999999")]
        assert endpoint.embed_texts("ct").shape == (DIM,)
        assert waits == [7, 0, 300]

    @pytest.mark.parametrize("headers", [{}, {"Retry-After": DATE}, {"Retry-After": "-1"}])
    def test_without_it_each_wait_doubles(
        self, endpoint: Endpoint, server: ScriptedServer, waits: list[float], headers: dict[str, str]
    ) -> None:
        server.script = [error_response(503, **headers)] * 3
        endpoint.embed_texts("ct")
        assert waits == [0.5, 1, 2]

    def test_the_wait_is_bounded(self, server: ScriptedServer, waits: list[float]) -> None:
        server.script = [error_response(503)] * 10
        with Endpoint(server.url, retries=10, sleep=waits.append) as endpoint:
            endpoint.embed_texts("ct")
        assert waits[-3:] == [30, 30, 30]

    def test_dropped_connections(self, endpoint: Endpoint, server: ScriptedServer, waits: list[float]) -> None:
        server.script = [DROP, (200, {"Content-Length": "99"}, b"[{"), DROP]
        server.closes_connections = True
        assert endpoint.embed_texts("ct").shape == (DIM,)
        assert waits == [0.5, 1, 2]

    def test_a_server_that_stays_busy(self, endpoint: Endpoint, server: ScriptedServer) -> None:
        server.script = [error_response(429)] * 5
        with pytest.raises(EndpointError, match=r"got 429 \(some_code\): it is busy, try later") as caught:
            endpoint.embed_texts("ct")
        assert caught.value.status == 429
        assert len(server.requests) == 5

    def test_no_server(self, server: ScriptedServer, waits: list[float]) -> None:
        with running(ScriptedServer(server.model)) as stopped:
            pass
        with Endpoint(stopped.url, retries=2, sleep=waits.append) as endpoint, pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert (caught.value.code, caught.value.status) == ("endpoint_unreachable", None)
        assert "got none (ConnectionRefusedError)" in caught.value.message
        assert waits == [0.5, 1]
        assert "127.0.0.1" not in caught.value.message

    def test_a_silent_server_times_out(self, waits: list[float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with (
                Endpoint(url, timeout_s=0.05, retries=1, sleep=waits.append) as endpoint,
                pytest.raises(EndpointError, match="TimeoutError"),
            ):
                endpoint.embed_texts("ct")
        assert waits == [0.5]


class TestCertificates:
    def test_an_untrusted_certificate_is_rejected_at_once(self, tls_server: ScriptedServer, waits: list[float]) -> None:
        with Endpoint(tls_server.url, KEY, sleep=waits.append) as endpoint, pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert (caught.value.code, waits, tls_server.requests) == ("endpoint_untrusted", [], [])

    def test_a_context_or_no_verification(
        self, tls_server: ScriptedServer, model: MedImageInsight, certificate: Path
    ) -> None:
        for verify in (False, ssl.create_default_context(cafile=str(certificate))):
            with Endpoint(tls_server.url, verify=verify) as endpoint:
                np.testing.assert_array_equal(endpoint.embed_texts("ct"), model.embed_texts("ct"))


@pytest.mark.parametrize("library", ["httpx"], indirect=True)
class TestProxies:
    def test_a_proxy_forwards_http(self, server: ScriptedServer) -> None:
        with running_proxy() as proxy:
            url = proxy.url.replace("//", "//user:password@")
            with Endpoint(server.url, KEY, proxy=url) as endpoint:
                endpoint.embed_texts("ct")
        assert proxy.requests == [("POST", f"{server.url}/score", "Basic dXNlcjpwYXNzd29yZA==")]
        assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"

    def test_a_proxy_tunnels_https_over_one_connection(self, tls_server: ScriptedServer) -> None:
        with running_proxy() as proxy:
            with Endpoint(tls_server.url, proxy=proxy.url, verify=False) as endpoint:
                endpoint.embed_texts("ct")
                endpoint.embed_texts("mr")
            assert proxy.requests == [("CONNECT", tls_server.url.removeprefix("https://"), None)]
        assert (len(tls_server.requests), tls_server.connections) == (2, 1)

    def test_the_proxy_of_the_environment(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        with running_proxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url.removeprefix("http://"))
            with Endpoint(server.url) as endpoint:
                endpoint.embed_texts("ct")
            assert len(proxy.requests) == 1
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            with Endpoint(server.url) as endpoint:
                endpoint.embed_texts("ct")
            assert len(proxy.requests) == 1
        assert len(server.requests) == 2

    def test_a_proxy_that_cannot_be_reached(self, server: ScriptedServer) -> None:
        with running_proxy() as stopped:
            pass
        with Endpoint(server.url, proxy=stopped.url, retries=0) as endpoint, pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert caught.value.code == "endpoint_unreachable"
        assert server.requests == []

    @pytest.mark.parametrize("proxy", ["s3cret:3128", "ftp://s3cret", "socks9://s3cret"])
    def test_an_unsupported_proxy_is_rejected(self, proxy: str) -> None:
        with pytest.raises(InputError) as caught:
            Endpoint("http://127.0.0.1", proxy=proxy)
        assert caught.value.code == "proxy_invalid"
        assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("library", ["http.client"], indirect=True)
def test_a_proxy_needs_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"medimageinsight-onnx\[client\]"):
        Endpoint("http://127.0.0.1", proxy="http://127.0.0.1:3128")
