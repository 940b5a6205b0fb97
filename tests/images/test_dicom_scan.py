"""The quick reader of headers finds what pydicom finds, and leaves to pydicom what it does not know."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits, dicom
from medimageinsight.images.dicom.scan import UNDEFINED, scan
from tests.images.dicom_datasets import PACKAGED, make_dataset, sequence_item, to_file_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

FILES = sorted(path for path in PACKAGED.glob("*.dcm"))


def nested(depth: int) -> Dataset:
    item = sequence_item(PatientID="X")
    for _ in range(depth):
        item = sequence_item(ReferencedImageSequence=Sequence([item]))
        item["ReferencedImageSequence"].is_undefined_length = True
        item.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    return item


def with_sequence(depth: int = 2) -> Dataset:
    dataset = make_dataset(np.arange(16, dtype=np.uint16).reshape(4, 4))
    dataset.update(nested(depth))
    return dataset


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_elements_are_those_of_pydicom(path: Path) -> None:
    found = scan(path.read_bytes())
    if found is None:
        return
    expected = pydicom.dcmread(path)
    for element in expected:
        if element.tag < 0x7FE10000:
            assert found.dataset[element.tag].value == element.value
    assert found.dataset.file_meta == expected.file_meta
    assert found.dataset.original_encoding == expected.original_encoding


def test_most_files_need_no_other_reader() -> None:
    assert sum(scan(path.read_bytes()) is not None for path in FILES) > 0.6 * len(FILES)


@pytest.mark.parametrize("depth", [1, 3])
def test_sequences_of_undefined_length_are_passed_over_or_read(depth: int) -> None:
    data = to_file_bytes(with_sequence(depth))
    assert b"\xff\xff\xff\xff" in data
    found = scan(data)
    assert found is not None
    assert found.dataset == pydicom.dcmread(io.BytesIO(data))
    header = scan(data, wanted={0x00280010}, size=len(data))
    assert header is not None
    assert header.dataset.Rows == 4
    assert list(header.dataset.keys()) == [0x00280010]
    assert header.pixel_bytes == 32
    assert header.pixels_at == len(data) - 32


def test_implicit_representation_is_read_too() -> None:
    dataset = with_sequence()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data = to_file_bytes(dataset)
    found = scan(data)
    assert found is not None
    assert found.dataset == pydicom.dcmread(io.BytesIO(data))


def test_encapsulated_pixels_are_those_of_pydicom() -> None:
    data = (PACKAGED / "MR_small_RLE.dcm").read_bytes()
    found = scan(data)
    assert found is not None
    assert found.pixel_bytes == UNDEFINED
    assert found.dataset.PixelData == pydicom.dcmread(io.BytesIO(data)).PixelData


def test_other_encodings_are_left_to_pydicom() -> None:
    dataset = make_dataset(np.zeros((4, 4), np.uint16))
    data = to_file_bytes(dataset)
    assert scan(data[132:]) is None
    assert scan(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0")) is None


@given(st.data())
def test_damage_is_found_or_left_to_pydicom(data: st.DataObject) -> None:
    whole = bytearray(to_file_bytes(with_sequence()))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(132, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(140, len(whole)))])
    scan(damaged)
    for keywords in (None, ("Rows", "PatientID")):
        try:
            header = dicom.read_header(io.BytesIO(damaged), Limits(), keywords)
            header.check_image(Limits())
        except ImageError:
            pass
