"""Image cells with the URL of an instance on a DICOMweb server."""

from __future__ import annotations

import pytest

from medimageinsight.serve.urls import fetch
from tests.serve.image_host import IMAGE, ImageHost, code_of, send

PATH = "/dicom-web/studies/1.2/series/1.3/instances/1.4"
KIND = 'multipart/related; type="application/dicom"; boundary="a-b"'


def multipart(*parts: bytes) -> bytes:
    head = b"--a-b\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + part + b"\r\n" for part in parts) + b"--a-b--\r\n"


@pytest.mark.usefixtures("reachable")
def test_an_instance_is_taken_from_its_envelope_and_asked_for_as_dicom(image_host: ImageHost) -> None:
    image_host.answers[PATH] = send(multipart(IMAGE), headers={"Content-Type": KIND})
    assert fetch(image_host.url(PATH), image_host.policy()) == IMAGE
    assert 'type="application/dicom"' in image_host.headers[0]["Accept"]
    image_host.answers[PATH] = send(IMAGE, headers={"Content-Type": "application/dicom"})
    assert fetch(image_host.url(PATH), image_host.policy()) == IMAGE
    assert fetch(image_host.url(), image_host.policy()) == IMAGE
    assert "Accept" not in image_host.headers[-1]


@pytest.mark.parametrize(
    "body", [b"", b"garbage", multipart(), multipart(b"a", b"b"), multipart(IMAGE)[:-12], b"--a-b\r\n\r\n" * 3]
)
@pytest.mark.usefixtures("reachable")
def test_a_malformed_envelope_is_an_error(image_host: ImageHost, body: bytes) -> None:
    image_host.answers[PATH] = send(body, headers={"Content-Type": KIND})
    assert code_of(image_host.url(PATH), image_host.policy()) == "image_url_failed"


@pytest.mark.usefixtures("reachable")
def test_an_envelope_without_a_boundary_is_an_error(image_host: ImageHost) -> None:
    image_host.answers[PATH] = send(multipart(IMAGE), headers={"Content-Type": "multipart/related"})
    assert code_of(image_host.url(PATH), image_host.policy()) == "image_url_failed"
