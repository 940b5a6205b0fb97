"""Bundles: opening, and verification of each file before it is used."""

from __future__ import annotations

import shutil

import pytest

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER, Bundle, Manifest, write_manifest
from medimageinsight.errors import BundleError


@pytest.fixture
def folder(toy_bundle, tmp_path):
    return shutil.copytree(toy_bundle, tmp_path / "copy")


def flip_a_byte(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_complete_bundle_opens_and_verifies(folder):
    bundle = Bundle.open(folder)
    bundle.verify()
    assert bundle.path(IMAGE_ENCODER) == folder / IMAGE_ENCODER
    assert bundle.manifest.name == "toy"


@pytest.mark.parametrize("name", [IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER])
def test_a_changed_byte_is_detected_in_the_file_in_use(folder, name):
    flip_a_byte(folder / name)
    bundle = Bundle.open(folder)
    bundle.verify(*{IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER} - {name})
    with pytest.raises(BundleError, match=name) as caught:
        bundle.verify(name)
    assert caught.value.code == "bundle_checksum"
    assert str(folder) not in caught.value.message


def test_a_graph_is_verified_with_its_external_data(folder):
    data = IMAGE_ENCODER + ".data"
    (folder / data).write_bytes(b"weights")
    write_manifest(folder, Manifest.load(folder), (IMAGE_ENCODER, data, TEXT_ENCODER, TOKENIZER))
    (folder / data).write_bytes(b"weightz")
    bundle = Bundle.open(folder)
    bundle.verify(TEXT_ENCODER)
    with pytest.raises(BundleError, match=data):
        bundle.verify(IMAGE_ENCODER)


def test_a_changed_size_is_detected_on_opening(folder):
    with (folder / TEXT_ENCODER).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=TEXT_ENCODER) as caught:
        Bundle.open(folder)
    assert caught.value.code == "bundle_checksum"


def test_a_missing_file_is_detected_on_opening(folder):
    (folder / TOKENIZER).unlink()
    with pytest.raises(BundleError, match=TOKENIZER):
        Bundle.open(folder)


def test_a_link_is_refused(folder, tmp_path):
    (folder / TOKENIZER).rename(tmp_path / "elsewhere")
    (folder / TOKENIZER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="not a plain file"):
        Bundle.open(folder)


def test_a_manifest_without_a_required_file_is_refused(folder):
    write_manifest(folder, Manifest.load(folder), (IMAGE_ENCODER, TEXT_ENCODER))
    with pytest.raises(BundleError, match=TOKENIZER):
        Bundle.open(folder)


def test_a_rewritten_model_card_is_accepted(folder):
    (folder / "MODEL_CARD.md").write_text("evaluated again")
    Bundle.open(folder).verify()


def test_the_path_of_an_unlisted_file_is_an_error(folder):
    with pytest.raises(BundleError, match=r"nothing\.onnx"):
        Bundle.open(folder).path("nothing.onnx")


def test_a_git_lfs_pointer_is_named(folder):
    (folder / IMAGE_ENCODER).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(BundleError, match="git lfs pull") as caught:
        Bundle.open(folder)
    assert caught.value.code == "bundle_checksum"
