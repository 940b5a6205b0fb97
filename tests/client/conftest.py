"""A scripted server, a client of it, and pictures to send."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from tests.client.scoring import KEY, Scoring, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture
def server(model: MedImageInsight) -> Iterator[Scoring]:
    with running(Scoring(model)) as server:
        yield server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def endpoint(server: Scoring, slept: list[float]) -> Iterator[Endpoint]:
    with Endpoint(server.url, KEY, sleep=slept.append) as endpoint:
        yield endpoint


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key beside it, made for this run."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("a certificate for the test is made by the openssl command, which is not here")
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-out", str(file), "-keyout", str(file.with_suffix(".key"))]
    subprocess.run([openssl, "req", "-x509", *kind, *names, *out], check=True, capture_output=True, timeout=60)
    return file


@pytest.fixture
def secure(model: MedImageInsight, certificate: Path) -> Iterator[Scoring]:
    """As `server`, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with running(Scoring(model), context) as server:
        yield server
