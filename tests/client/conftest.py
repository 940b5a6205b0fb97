"""A scripted server, an endpoint connected to it, and arrays to send."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from tests.client.scripted_server import KEY, ScriptedServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, params=["httpx", "http.client"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library under the client: each test runs with both."""
    if request.param == "httpx":
        pytest.importorskip("httpx", reason="needs the extra client")
    monkeypatch.setattr("medimageinsight.client.transport.has_httpx", lambda: request.param == "httpx")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return request.param


@pytest.fixture(scope="module")
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture
def server(model: MedImageInsight) -> Iterator[ScriptedServer]:
    with running(ScriptedServer(model)) as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the endpoint waited before repeated requests."""
    return []


@pytest.fixture
def endpoint(server: ScriptedServer, waits: list[float]) -> Iterator[Endpoint]:
    with Endpoint(server.url, KEY, sleep=waits.append) as endpoint:
        yield endpoint


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new self-signed certificate for 127.0.0.1, its key next to it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command, which makes a certificate for the test")
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-out", str(file), "-keyout", str(file.with_suffix(".key"))]
    subprocess.run([openssl, "req", "-x509", *kind, *names, *out], check=True, capture_output=True, timeout=60)
    return file


@pytest.fixture
def tls_server(model: MedImageInsight, certificate: Path) -> Iterator[ScriptedServer]:
    """As `server`, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with running(ScriptedServer(model), context) as server:
        yield server
