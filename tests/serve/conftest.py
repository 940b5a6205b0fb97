"""A running server with a toy model, shared by the tests that do not change it; and a host of images to fetch."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from medimageinsight import MedImageInsight
from tests.serve.image_host import NAME, ImageHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess
    from tests.serve.store_fixtures import ChestStore


@pytest.fixture(scope="session")
def chest(toy: MedImageInsight, tmp_path_factory: pytest.TempPathFactory) -> ChestStore:
    """A store of six images, two of them without a finding; tests must not change it."""
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    from tests.serve.store_fixtures import make_chest_store

    return make_chest_store(toy, tmp_path_factory.mktemp("chest"))


@pytest.fixture(scope="session")
def server(toy_bundle: Path, chest: ChestStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`mi2 serve` with the toy model, a store and its images, and default options."""
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    from tests.serve.server_process import run_server

    folder = tmp_path_factory.mktemp("server")
    with run_server(folder, "--model", str(toy_bundle), *chest.options) as process:
        yield process


@pytest.fixture(scope="session")
def toy(toy_bundle: Path) -> Iterator[MedImageInsight]:
    """The toy model in this process, to compare with."""
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost and its key, as PEM files."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture
def image_host() -> Iterator[ImageHost]:
    """A host of images on this machine."""
    with ImageHost() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses by host name, instead of a real resolver; tests change them."""
    names = {NAME: ["127.0.0.1"]}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        return [info for address in names[host] for info in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch, resolved: dict[str, list[str]]) -> None:
    """Treat addresses of this machine as public, so that a fetch from a test's host can succeed."""
    monkeypatch.setattr("medimageinsight.serve.urls._is_public", lambda address: True)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record every address that a socket connects to."""
    addresses: list[Any] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        addresses.append(address)
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return addresses
