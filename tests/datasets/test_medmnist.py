from __future__ import annotations

import json
import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import images
from medimageinsight.datasets import (
    image_array,
    list_items,
    medmnist,
    open_item,
    read_label_names,
    read_medmnist,
    read_table,
)
from medimageinsight.errors import DatasetError, ImageError
from tests.datasets.medmnist_files import make_arrays, write_npz

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("options", [{}, {"rgb": True}, {"side": 224}, {"side": 64, "rgb": True}])
def test_images_and_labels_are_those_of_the_arrays(tmp_path: Path, options) -> None:
    arrays = make_arrays(**options)
    table = read_table(write_npz(tmp_path / "set.npz", **options))
    assert table.splits == {"train": 60, "val": 24, "test": 40}
    assert table.separator == ""
    rows = {f"{split}/{row}": (split, row) for split in table.splits for row in range(table.splits[split])}
    assert table.ids == list(rows)
    for sample in (table.samples[index] for index in (123, 0, 1, 83, 61)):
        split, row = rows[sample.id]
        pixels = arrays[f"{split}_images"][row]
        expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        np.testing.assert_array_equal(images.load(sample.image_source()), expected)
        np.testing.assert_array_equal(images.load(sample.lazy_source()), expected)
        assert sample.label == str(arrays[f"{split}_labels"][row, 0])
        assert (sample.source, sample.split, sample.patient_id) == ("set", split, "")


def test_labels_have_the_given_names(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "set.npz")
    table = read_medmnist(path, label_names=("low", "middle", "high"), split="val")
    assert [sample.label for sample in table.samples[:4]] == ["low", "middle", "high", "low"]
    with pytest.raises(DatasetError) as caught:
        read_medmnist(path, label_names=("low", "high"))
    assert caught.value.code == "label_names_mismatched"


def test_several_labels_of_an_image_are_joined(tmp_path: Path) -> None:
    flags = np.array([[1, 0, 1], [0, 0, 0]] * 30, np.uint8)
    table = read_medmnist(write_npz(tmp_path / "chest.npz", together=True, train_labels=flags))
    assert table.separator == "|"
    assert [sample.label for sample in table.samples[:2]] == ["0|2", ""]


def test_names_of_labels_come_from_text_or_json(tmp_path: Path) -> None:
    assert read_label_names("normal, pneumonia") == ("normal", "pneumonia")
    path = tmp_path / "names.json"
    for content in ({"1": "pneumonia", "0": "normal"}, ["normal", "pneumonia"]):
        path.write_text(json.dumps(content))
        assert read_label_names(str(path)) == ("normal", "pneumonia")
    for content in ("{", "[1]", '{"1": "a"}', '["a", "a"]', '["a|b", "c"]', "[" * 100_000):
        path.write_text(content)
        with pytest.raises(DatasetError) as caught:
            read_label_names(str(path))
        assert caught.value.code == "label_names_invalid"


def test_an_image_has_a_name(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "set.npz")
    names = list_items(str(path))
    assert (names[0], names[-1], len(names)) == (f"{path}#train/0", f"{path}#test/39", 124)
    sample = open_item(names[100])
    assert sample is not None
    assert sample.location.relative_to(tmp_path).as_posix() == "set.npz#test/16"
    assert open_item("chest.png") is None
    assert open_item("a.npz#elsewhere/1") is None
    for name, code in ((f"{path}#test/40", "npz_item_missing"), (f"{path}x.npz#test/0", "dataset_not_found")):
        with pytest.raises(DatasetError) as caught:
            open_item(name)
        assert caught.value.code == code


def test_blocks_of_a_large_array_are_read_in_any_order_and_process(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_array, "_BLOCK_BYTES", 7 * 28 * 28)
    monkeypatch.setattr(image_array, "_MAX_BLOCKS", 2)
    arrays = make_arrays()
    table = read_medmnist(write_npz(tmp_path / "set.npz"))
    samples = pickle.loads(pickle.dumps(table.samples))  # as for the workers of a training
    for row in (59, 0, 30, 31, 7, 58):
        np.testing.assert_array_equal(images.load(samples[row].image_source())[..., 0], arrays["train_images"][row])


OBJECTS = np.array([{"a": 1}, None] * 30, dtype=object)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"val_labels": None}, "npz_array_missing"),
        ({"test_images": None, "test_labels": None}, "npz_array_missing"),
        ({"train_images": OBJECTS}, "npz_objects"),
        ({"train_labels": OBJECTS}, "npz_objects"),
        ({"train_images": np.zeros((60, 28, 28, 28), np.uint8)}, "npz_volumes"),
        ({"train_images": np.zeros((60, 8, 28, 28, 3), np.uint8)}, "npz_volumes"),
        ({"train_images": np.zeros((60, 28, 28), np.float32)}, "npz_invalid"),
        ({"train_images": np.zeros((60, 28 * 28), np.uint8)}, "npz_invalid"),
        ({"train_images": np.asfortranarray(np.zeros((60, 28, 27), np.uint8))}, "npz_invalid"),
        ({"train_images": np.zeros((60, 0, 28), np.uint8)}, "npz_too_large"),
        ({"train_labels": np.zeros((59, 1), np.uint8)}, "npz_invalid"),
        ({"train_labels": np.zeros((60, 2, 2), np.uint8)}, "npz_invalid"),
        ({"train_labels": np.zeros((60, 0), np.uint8)}, "npz_invalid"),
        ({"train_labels": np.full((60, 1), 0.5)}, "npz_invalid"),
        ({"train_labels": np.full((60, 1), -1)}, "npz_invalid"),
        ({"train_labels": np.full((60, 3), 2)}, "npz_invalid"),
        ({"train_labels": np.eye(60, 3, dtype=np.uint8)}, "npz_invalid"),  # sets of labels in one split only
        ({"train_labels": np.array(["a"] * 60)}, "npz_invalid"),
    ],
)
def test_refuses_arrays_of_another_form(tmp_path: Path, changed, code: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_table(write_npz(tmp_path / "set.npz", **changed))
    assert caught.value.code == code


def test_refuses_files_that_are_not_archives(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    whole = write_npz(path).read_bytes()
    contents = (
        b"",
        b"PK\x03\x04",
        b"version https://git-lfs.github.com/spec/v1\n",
        whole[: len(whole) // 2],
        pickle.dumps(3),
    )
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            read_medmnist(path)
        assert caught.value.code == "npz_invalid"
    with pytest.raises(DatasetError) as caught:
        read_medmnist(tmp_path / "missing.npz")
    assert caught.value.code == "dataset_not_found"


def test_refuses_headers_that_overstate_their_data(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = members["train_images.npy"]
    for shape, code in (
        (b"(61, 28, 28)", "npz_invalid"),
        (b"(6 ** 99, 2)", "npz_invalid"),
        (b"(9999999, 9, 9)", "npz_too_large"),
    ):
        changed = header[:128].replace(b"(60, 28, 28), }", shape + b", }")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {**members, "train_images.npy": changed[:128] + header[128:]}.items():
                archive.writestr(name, content)
        with pytest.raises(DatasetError) as caught:
            read_medmnist(path)
        assert caught.value.code == code


def test_refuses_what_expands_without_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(medmnist, "_LARGE", 1 << 16)
    with pytest.raises(DatasetError) as caught:
        read_medmnist(write_npz(tmp_path / "set.npz", train_images=np.zeros((60, 224, 224), np.uint8)))
    assert caught.value.code == "npz_too_large"


def test_damaged_data_is_the_error_of_its_images(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("test_images.npy")
    content = bytearray(path.read_bytes())
    start = info.header_offset + 3000
    content[start : start + 64] = bytes(byte ^ 0xFF for byte in content[start : start + 64])
    path.write_bytes(content)
    table = read_medmnist(path)
    with pytest.raises(ImageError) as caught:
        table.samples[-1].image_source()
    assert caught.value.code == "image_truncated"
    images.load(table.samples[0].image_source())


def test_a_file_that_was_removed_is_the_error_of_its_images(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "set.npz")
    table = read_medmnist(path)
    path.unlink()
    with pytest.raises(ImageError) as caught:
        table.samples[0].image_source()
    assert caught.value.code == "image_not_found"
