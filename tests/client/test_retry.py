"""A server that is busy or cannot be reached is asked again, after a wait."""

from __future__ import annotations

import socket

import pytest

from medimageinsight.client import Endpoint
from medimageinsight.errors import EndpointError
from tests.client.scoring import DROP, KEY, Scoring, refusal, running
from tests.toy import DIM


@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_own_wait_is_kept(endpoint: Endpoint, server: Scoring, slept: list[float], status: int) -> None:
    server.script = [refusal(status, **{"Retry-After": wait}) for wait in ("7", "0", "99999999")]
    assert endpoint.embed_texts("ct").shape == (DIM,)
    assert slept == [7, 0, 300]


@pytest.mark.parametrize("said", [{}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {"Retry-After": "-1"}])
def test_else_each_wait_is_twice_the_last(
    endpoint: Endpoint, server: Scoring, slept: list[float], said: dict[str, str]
) -> None:
    server.script = [refusal(503, **said)] * 3
    endpoint.embed_texts("ct")
    assert slept == [0.5, 1, 2]


def test_the_wait_has_a_bound(server: Scoring, slept: list[float]) -> None:
    server.script = [refusal(503)] * 10
    with Endpoint(server.url, retries=10, sleep=slept.append) as endpoint:
        endpoint.embed_texts("ct")
    assert slept[-3:] == [30, 30, 30]


def test_a_dropped_connection(endpoint: Endpoint, server: Scoring, slept: list[float]) -> None:
    server.script = [DROP, (200, {"Content-Length": "99"}, b"[{"), DROP]
    server.hangs_up = True
    assert endpoint.embed_texts("ct").shape == (DIM,)
    assert slept == [0.5, 1, 2]


def test_a_server_that_stays_busy(endpoint: Endpoint, server: Scoring) -> None:
    server.script = [refusal(429)] * 5
    with pytest.raises(EndpointError, match=r"got 429 \(some_code\): it is busy, try later") as caught:
        endpoint.embed_texts("ct")
    assert caught.value.status == 429
    assert len(server.requests) == 5


def test_no_server(server: Scoring, slept: list[float]) -> None:
    with running(Scoring(server.model)) as gone:
        pass
    with Endpoint(gone.url, retries=2, sleep=slept.append) as endpoint, pytest.raises(EndpointError) as caught:
        endpoint.embed_texts("ct")
    assert (caught.value.code, caught.value.status) == ("endpoint_unreachable", None)
    assert slept == [0.5, 1]
    assert "127.0.0.1" not in caught.value.message


def test_a_server_that_is_silent(slept: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Endpoint(url, timeout_s=0.05, retries=1, sleep=slept.append) as endpoint,
            pytest.raises(EndpointError, match="TimeoutError"),
        ):
            endpoint.embed_texts("ct")
    assert slept == [0.5]


def test_an_unknown_certificate_is_refused_at_once(secure: Scoring, slept: list[float]) -> None:
    with Endpoint(secure.url, KEY, sleep=slept.append) as endpoint, pytest.raises(EndpointError) as caught:
        endpoint.embed_texts("ct")
    assert (caught.value.code, slept, secure.requests) == ("endpoint_untrusted", [], [])
