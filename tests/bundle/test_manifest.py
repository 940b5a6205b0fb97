"""Manifests: strict reading and reproducible writing."""

from __future__ import annotations

import json

import pytest

from medimageinsight.bundle import FileEntry, Manifest
from medimageinsight.bundle.manifest import MAX_MANIFEST_BYTES
from medimageinsight.errors import BundleError
from tests import toy


def plain() -> dict:
    files = {"image_encoder.onnx": FileEntry(bytes=3, sha256="0" * 64)}
    return json.loads(toy.manifest().with_files(files).to_json())


def read(data) -> Manifest:
    return Manifest.from_json(data if isinstance(data, str | bytes) else json.dumps(data))


def test_a_written_manifest_is_read_back():
    assert read(plain()).to_json() == toy.manifest().with_files(read(plain()).files).to_json()


def test_a_newer_format_asks_to_upgrade():
    with pytest.raises(BundleError, match="upgrade") as caught:
        read(plain() | {"format": 2, "unheard_of": True})
    assert caught.value.code == "bundle_too_new"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"embedding_dim": None}, "embedding_dim"),
        ({"embedding_dim": "8"}, "embedding_dim"),
        ({"embedding_dim": True}, "embedding_dim"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"format": 0}, "format"),
        ({"format": "1"}, "format"),
        ({"precision": "fp64"}, "precision"),
        ({"scoring_preprocessing": "raw"}, "scoring_preprocessing"),
        ({"name": "../mini"}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"files": {"image_encoder.onnx": {"bytes": -1, "sha256": "0" * 64}}}, "image_encoder.onnx"),
        ({"files": {"image_encoder.onnx": {"bytes": 1, "sha256": "xyz"}}}, "image_encoder.onnx"),
        ({"files": {"image_encoder.onnx": {"bytes": 1}}}, "sha256"),
    ],
)
def test_a_wrong_value_is_named(changes, named):
    with pytest.raises(BundleError, match=named) as caught:
        read(plain() | changes)
    assert caught.value.code == "bundle_invalid"


def test_a_missing_key_is_named():
    data = plain()
    del data["logit_scale"]
    with pytest.raises(BundleError, match="missing logit_scale"):
        read(data)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "a\\b", "..", ".", ".hidden", "", "C:x", "a\0b", "x" * 200, "trailing."]
)
def test_a_file_name_that_is_a_path_is_refused(name):
    with pytest.raises(BundleError, match="plain file names"):
        read(plain() | {"files": {name: {"bytes": 1, "sha256": "0" * 64}}})


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 200_000, b'{"format": 1, "format": 1}', b'{"format": NaN}'],
)
def test_invalid_json_is_refused(content):
    with pytest.raises(BundleError) as caught:
        read(content)
    assert caught.value.code == "bundle_invalid"
    assert "\n" not in caught.value.message


def test_a_huge_manifest_is_not_read(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match="larger"):
        Manifest.load(tmp_path)


def test_a_folder_without_a_manifest_is_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="mi2 convert") as caught:
        Manifest.load(tmp_path)
    assert caught.value.code == "bundle_not_found"
    assert str(tmp_path) not in caught.value.message
