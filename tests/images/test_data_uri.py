"""Base64 and data URIs."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight import images
from medimageinsight.errors import ImageError


def test_white_space_and_missing_padding_are_accepted() -> None:
    assert images.decode_base64(" aGV s\nbG8 ") == b"hello"
    assert images.decode_base64("DATA:image/png;base64,aGVs bG8") == b"hello"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("aGVs!G8=", "image_bad_base64"),
        ("aGVsb", "image_bad_base64"),
        ("a-_b", "image_bad_base64"),
        ("ü", "image_bad_base64"),
        ("", "image_empty"),
        ("data:image/png,abc", "image_bad_data_uri"),
        ("data:image/png;base64", "image_bad_data_uri"),
        ("data:;base64,", "image_empty"),
    ],
)
def test_rejects_invalid_text(text: str, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        images.decode_base64(text)
    assert caught.value.code == code


@given(st.binary(min_size=1, max_size=200))
def test_round_trip(data: bytes) -> None:
    assert images.decode_base64(base64.encodebytes(data).decode()) == data
