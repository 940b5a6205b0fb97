"""Every body that clients send is parsed to the same rows; other bodies are refused with a one-line error."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medimageinsight.errors import InputError, RequestError
from medimageinsight.serve import Params, RequestLimits, Row, parse_request

IMAGE = bytes(range(256))  # parsing does not decode, so any bytes are valid
BASE64 = base64.b64encode(IMAGE).decode()
TEXT = "x-ray chest anteroposterior Cardiomegaly"
BOTH = Row(image=IMAGE, text=TEXT)

COLUMNS = ["image", "text"]
FORMS: dict[str, dict[str, Any]] = {
    "the contract's sample": {"input_data": {"columns": COLUMNS, "index": [0], "data": [[BASE64, TEXT]]}},
    "without index": {"input_data": {"columns": COLUMNS, "data": [[BASE64, TEXT]]}},
    "columns in another order": {"input_data": {"columns": ["text", "image"], "data": [[TEXT, BASE64]]}},
    "more columns": {"input_data": {"columns": ["id", "image", "text"], "data": [[7, BASE64, TEXT]]}},
    "rows as objects": {"input_data": {"columns": COLUMNS, "data": [{"image": BASE64, "text": TEXT}]}},
    "rows as objects without columns": {"input_data": {"data": [{"text": TEXT, "image": BASE64, "id": 7}]}},
    "rows only": {"input_data": [{"image": BASE64, "text": TEXT}]},
    "dataframe_split": {"dataframe_split": {"columns": COLUMNS, "index": [0], "data": [[BASE64, TEXT]]}},
    "dataframe_records": {"dataframe_records": [{"image": BASE64, "text": TEXT}]},
    "instances": {"instances": [{"image": BASE64, "text": TEXT}]},
    "inputs as rows": {"inputs": [{"image": BASE64, "text": TEXT}]},
    "inputs as lists": {"inputs": [[BASE64, TEXT]]},
    "inputs as columns": {"inputs": {"image": [BASE64], "text": [TEXT]}},
    "inputs as single cells": {"inputs": {"image": BASE64, "text": TEXT}},
    "an additional key": {"input_data": [[BASE64, TEXT]], "id": "7"},
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_all_forms_give_the_same_row(body: dict[str, Any]) -> None:
    assert parse_request(body).rows == (BOTH,)
    assert parse_request(json.dumps(body).encode()).rows == (BOTH,)


@pytest.mark.parametrize(
    "cell",
    [
        BASE64,
        base64.encodebytes(IMAGE).decode(),
        base64.encodebytes(IMAGE).decode().replace("\n", "\r\n"),
        BASE64.rstrip("="),
        f"data:image/png;base64,{BASE64}",
        f"DATA:application/dicom;base64,\n{base64.encodebytes(IMAGE).decode()}",
    ],
    ids=["one line", "lines of 76", "CRLF", "no padding", "data URI", "data URI with lines"],
)
def test_encodings_of_an_image(cell: str) -> None:
    assert parse_request({"input_data": {"columns": ["image"], "data": [[cell]]}}).rows == (Row(image=IMAGE),)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ({"columns": COLUMNS, "data": [[BASE64, None]]}, Row(image=IMAGE)),
        ({"columns": COLUMNS, "data": [[BASE64, ""]]}, Row(image=IMAGE)),
        ({"columns": COLUMNS, "data": [[BASE64]]}, Row(image=IMAGE)),
        ({"columns": ["image"], "data": [[BASE64]]}, Row(image=IMAGE)),
        ({"columns": COLUMNS, "data": [[None, TEXT]]}, Row(text=TEXT)),
        ({"columns": COLUMNS, "data": [["", TEXT]]}, Row(text=TEXT)),
        ({"columns": ["text"], "data": [[TEXT]]}, Row(text=TEXT)),
        ({"columns": COLUMNS, "data": [{"text": TEXT}]}, Row(text=TEXT)),
        ({"columns": COLUMNS, "data": [{"image": None, "text": TEXT}]}, Row(text=TEXT)),
        ({"text": TEXT}, Row(text=TEXT)),
        ({"image": None, "text": [TEXT]}, Row(text=TEXT)),
    ],
)
def test_missing_cells(table: dict[str, Any], row: Row) -> None:
    assert parse_request({"input_data": table}).rows == (row,)


def test_mixed_rows_and_columns_of_unequal_length() -> None:
    rows = [[BASE64, TEXT], [BASE64], ["", TEXT], {"text": "b"}]
    expected = (BOTH, Row(image=IMAGE), Row(text=TEXT), Row(text="b"))
    assert parse_request({"input_data": {"columns": COLUMNS, "data": rows}}).rows == expected
    uneven = {"inputs": {"image": [BASE64], "text": [TEXT, "b"]}}
    assert parse_request(uneven).rows == (BOTH, Row(text="b"))
    assert parse_request({"instances": []}).rows == ()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, Params()),
        ({}, Params()),
        ({"get_scaling_factor": None, "on_error": None}, Params()),
        ({"get_scaling_factor": True}, Params()),
        ({"get_scaling_factor": "true"}, Params()),
        ({"get_scaling_factor": False}, Params(get_scaling_factor=False)),
        ({"get_scaling_factor": "false"}, Params(get_scaling_factor=False)),
        ({"get_scaling_factor": "False"}, Params(get_scaling_factor=False)),
        ({"image_standardization_image_size": 0, "image_standardization_jpeg_compression_ratio": 0}, Params()),
        ({"image_standardization_image_size": 256}, Params(standardization_size=256)),
        ({"image_standardization_jpeg_compression_ratio": 90}, Params(jpeg_quality=90)),
        ({"preprocessing": "azure"}, Params(preprocessing="azure")),
        ({"response_shape": "card"}, Params(response_shape="card")),
        ({"on_error": "fail"}, Params(on_error="fail")),
        ({"unknown_to_us": [1]}, Params()),
    ],
)
def test_params(params: object, expected: Params) -> None:
    assert parse_request({"input_data": [], "params": params}).params == expected


def test_default_params() -> None:
    assert parse_request({"input_data": []}).params == Params()


@pytest.mark.parametrize(
    "params",
    [
        [],
        "get_scaling_factor",
        {"get_scaling_factor": 1},
        {"get_scaling_factor": "yes"},
        {"image_standardization_image_size": -1},
        {"image_standardization_image_size": 10**9},
        {"image_standardization_image_size": 512.5},
        {"image_standardization_image_size": True},
        {"image_standardization_jpeg_compression_ratio": 101},
        {"image_standardization_jpeg_compression_ratio": "75"},
        {"preprocessing": "hosted"},
        {"response_shape": ["rows"]},
        {"on_error": "ignore"},
    ],
)
def test_rejects_invalid_params(params: object) -> None:
    with pytest.raises(RequestError, match=r"^params.*: expected .*, got (an? \w+|null)$") as caught:
        parse_request({"input_data": [], "params": params})
    assert caught.value.code == "params_invalid"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "request_not_json"),
        (b"{", "request_not_json"),
        (b"\xff\xfe\x00", "request_not_json"),
        (b"[" * 100_000, "request_not_json"),
        (b'{"input_data": [[NaN]]}', "request_not_json"),
        (b'{"input_data": [[' + b"9" * 5000 + b"]]}", "request_not_json"),
        (b"null", "request_invalid"),
        (b"[]", "request_invalid"),
        (b"{}", "request_invalid"),
        (b'{"data": [[null, "a"]]}', "request_invalid"),
        (b'{"input_data": [], "instances": []}', "request_invalid"),
        (b'{"input_data": null}', "request_invalid"),
        (b'{"input_data": "a"}', "request_invalid"),
        (b'{"input_data": {}}', "request_invalid"),
        (b'{"input_data": {"data": "a"}}', "request_invalid"),
        (b'{"input_data": {"columns": "image", "data": []}}', "request_invalid"),
        (b'{"input_data": {"columns": [1], "data": []}}', "request_invalid"),
        (b'{"input_data": {"columns": ["picture"], "data": []}}', "request_invalid"),
        (b'{"input_data": {"columns": ["image", "image"], "data": []}}', "request_invalid"),
    ],
)
def test_rejects_bodies_of_another_form(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body)
    assert caught.value.code == code
    assert caught.value.message.startswith("expected ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ([], "row_empty"),
        ([None, ""], "row_empty"),
        ({}, "row_empty"),
        ({"picture": BASE64}, "row_empty"),
        (None, "row_invalid"),
        (TEXT, "row_invalid"),
        ([BASE64, TEXT, TEXT], "row_invalid"),
        ([7, None], "image_not_a_string"),
        ([{"url": TEXT}, None], "image_not_a_string"),
        (["scan.png", None], "image_bad_base64"),
        (["/etc/hostname?", None], "image_bad_base64"),
        (["\ud800", None], "image_bad_base64"),
        (["   ", None], "image_empty"),
        (["data:image/png,abc", None], "image_bad_data_uri"),
        (["https://example.org/scan.png", None], "image_url_refused"),
        ([" HTTP://example.org/scan.png", None], "image_url_refused"),
        ([None, 7], "text_not_a_string"),
        ([BASE64, [TEXT]], "text_not_a_string"),
        ([None, False], "text_not_a_string"),
    ],
)
def test_a_bad_row_has_its_error(row: object, code: str) -> None:
    first, second = parse_request({"input_data": {"columns": COLUMNS, "data": [row, [BASE64, TEXT]]}}).rows
    assert first.error is not None
    assert first.error.code == code
    assert first.error.message.startswith("expected ")
    assert second == BOTH


def test_limits() -> None:
    limits = RequestLimits(max_bytes=60, max_rows=2)
    two = b'{"inputs": [["", "a"], ["", "b"]]}'
    assert len(parse_request(two, limits=limits).rows) == 2
    with pytest.raises(RequestError, match="at most 2 rows, got 3") as caught:
        parse_request(b'{"inputs": [["", "a"], ["", "b"], 1]}', limits=limits)
    assert caught.value.code == "request_too_many_rows"
    with pytest.raises(RequestError, match="at most 60 bytes, got 61") as caught:
        parse_request(two.ljust(61), limits=limits)
    assert caught.value.code == "request_too_large"
    assert RequestLimits() == RequestLimits(max_bytes=104_857_600, max_rows=1024)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([BASE64, TEXT]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["columns", "data", "index", "image", "text"]), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["input_data", "dataframe_split", "dataframe_records", "inputs", "instances"], JSON),
        "params": JSON | st.dictionaries(st.sampled_from(["get_scaling_factor", "on_error", "preprocessing"]), JSON),
    },
)


@settings(max_examples=60, deadline=None)
@given(JSON | BODIES | st.binary(max_size=40))
def test_any_body_is_parsed_or_refused(body: Any) -> None:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        rows = parse_request(encoded).rows
    except RequestError as error:
        assert error.message  # noqa: PT017 - a valid body raises nothing
    else:
        for row in rows:
            assert isinstance(row.error, InputError) or row.image is not None or row.text is not None
