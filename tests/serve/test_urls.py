"""Images are fetched from allowed public hosts only, for all kinds of URLs, names and addresses."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from medimageinsight.serve.urls import UrlPolicy, fetch
from tests.serve.image_host import IMAGE, NAME, ImageHost, code_of, send

PUBLIC = "93.184.215.14"


@pytest.mark.usefixtures("reachable")
def test_fetches_an_allowed_url(image_host: ImageHost) -> None:
    assert fetch(image_host.url("/a/b.png?series=1&x=%20#top"), image_host.policy()) == IMAGE
    assert image_host.hits == ["/a/b.png?series=1&x=%20"]
    assert image_host.headers[0]["Host"] == image_host.host
    assert image_host.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.usefixtures("reachable")
def test_host_names_are_case_insensitive(image_host: ImageHost) -> None:
    policy = UrlPolicy(hosts=frozenset({f"Images.Test:{image_host.port}"}))
    assert fetch(image_host.url().replace(NAME, "IMAGES.test").replace("http", "HTTP"), policy) == IMAGE


@pytest.mark.usefixtures("reachable")
def test_bodies_without_a_length(image_host: ImageHost) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (IMAGE[:5], IMAGE[5:])) + b"0\r\n\r\n"
    image_host.answers["/chunks"] = send(chunks, headers={"Transfer-Encoding": "chunked"}, announce=False)
    image_host.answers["/end"] = send(IMAGE, announce=False)
    assert fetch(image_host.url("/chunks"), image_host.policy()) == IMAGE
    assert fetch(image_host.url("/end"), image_host.policy()) == IMAGE


@pytest.mark.usefixtures("reachable")
def test_proxies_of_the_environment_are_ignored(
    image_host: ImageHost, monkeypatch: pytest.MonkeyPatch, connections: Any
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(image_host.url(), image_host.policy()) == IMAGE
    assert connections == [("127.0.0.1", image_host.port)]


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize(
    "url",
    [
        "http://evil.test:{port}/",
        "http://a.images.test:{port}/",
        "http://images.test.evil.test:{port}/",
        "http://images.test.:{port}/",
        "http://127.0.0.1:{port}/",
        "http://images.test/",
        "http://images.test:1/",
        "http://images.test:0/",
        "http://images.test:65536/",
        "http://images.test:x/",
        "http://user:secret@images.test:{port}/",
        "http://secret@images.test:{port}/",
        "http://@images.test:{port}/",
        "http://evil.test\\@images.test:{port}/",
        "http://images.test:{port}\\@evil.test/",
        "http://evil.test#@images.test:{port}/",
        "http://images.test:{port}/\r\nX-Evil: 1",
        "http://ima\tges.test:{port}/",
        "http://images.test:{port}/a b",
        "http://images.test:{port}/é",
        "http://ｉmages.test:{port}/",
        "http://[images.test:{port}/",
        "http:///image.png",
        "http:images.test:{port}/",
        "ftp://images.test:{port}/",
        "file:///etc/passwd",
        "//images.test:{port}/",
        "",
        "http://images.test:{port}/" + "a" * 9000,
    ],
)
def test_refuses_other_urls_without_connecting(image_host: ImageHost, connections: list[Any], url: str) -> None:
    assert code_of(url.format(port=image_host.port), image_host.policy()) == "image_url_refused"
    assert not connections


def test_an_empty_policy_allows_no_host(connections: list[Any]) -> None:
    assert code_of(f"http://{NAME}/", UrlPolicy(hosts=frozenset())) == "image_url_refused"
    assert not connections


@pytest.mark.usefixtures("reachable")
def test_a_name_without_port_allows_only_the_default_port(image_host: ImageHost, connections: list[Any]) -> None:
    assert code_of(image_host.url(), UrlPolicy(hosts=frozenset({NAME}))) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.100.100.200",
        "169.254.169.254",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_refuses_names_with_private_addresses(
    resolved: dict[str, list[str]], connections: list[Any], address: str
) -> None:
    policy = UrlPolicy(hosts=frozenset({NAME}))
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        resolved[NAME] = addresses
        assert code_of(f"http://{NAME}/", policy) == "image_url_refused"
        assert code_of(f"https://{NAME}/", policy) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "localhost"])
def test_refuses_local_addresses_even_if_listed(host: str, connections: list[Any]) -> None:
    policy = UrlPolicy(hosts=frozenset({host.strip("[]")}))
    assert code_of(f"http://{host}/", policy) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_connects_to_public_addresses(
    resolved: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    connections = []

    def connect(sock: socket.socket, address: tuple[Any, ...]) -> None:
        connections.append(address[:2])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    resolved[NAME] = [address]
    assert code_of(f"https://{NAME}/", UrlPolicy(hosts=frozenset({NAME}))) == "image_url_failed"
    assert connections == [(address, 443)]


@pytest.mark.usefixtures("reachable")
def test_resolves_a_name_once(image_host: ImageHost, monkeypatch: pytest.MonkeyPatch, connections: list[Any]) -> None:
    resolved_names = []
    patched = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        resolved_names.append(host)
        return patched(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert fetch(image_host.url(), image_host.policy()) == IMAGE
    assert resolved_names == [NAME]
    assert connections == [("127.0.0.1", image_host.port)]


@pytest.mark.usefixtures("reachable")
def test_tries_the_next_address(image_host: ImageHost, resolved: dict[str, list[str]]) -> None:
    resolved[NAME] = ["127.0.0.2", "127.0.0.1"]  # the host listens on the second only
    assert fetch(image_host.url(), image_host.policy()) == IMAGE
