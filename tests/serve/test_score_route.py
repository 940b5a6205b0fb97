"""All request forms of the contract, sent to a running server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from tests.serve.server_process import b64, make_image, score_request
from tests.toy import LOGIT_SCALE

if TYPE_CHECKING:
    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

IMAGE = make_image(1)
TEXT = "x-ray chest anteroposterior Cardiomegaly"
ROW = [b64(IMAGE), TEXT]
SAMPLE = {
    "input_data": {"columns": ["image", "text"], "index": [0], "data": [[base64.encodebytes(IMAGE).decode(), TEXT]]},
    "params": {"get_scaling_factor": True},
}

BOTH, IMAGE_ONLY, TEXT_ONLY = {"image_features", "text_features"}, {"image_features"}, {"text_features"}
FORMS: dict[str, tuple[dict[str, Any], list[set[str]]]] = {
    "rows as lists": ({"input_data": {"columns": ["image", "text"], "data": [ROW]}}, [BOTH]),
    "an index": ({"input_data": {"columns": ["image", "text"], "index": [5], "data": [ROW]}}, [BOTH]),
    "rows as objects": ({"input_data": {"data": [{"image": ROW[0], "text": TEXT}]}}, [BOTH]),
    "columns the other way": ({"input_data": {"columns": ["text", "image"], "data": [[TEXT, ROW[0]]]}}, [BOTH]),
    "no text column": ({"input_data": {"columns": ["image"], "data": [[ROW[0]]]}}, [IMAGE_ONLY]),
    "no image column": ({"input_data": {"columns": ["text"], "data": [[TEXT]]}}, [TEXT_ONLY]),
    "null cells": ({"input_data": {"columns": ["image", "text"], "data": [[None, TEXT], [ROW[0], None]]}},
                   [TEXT_ONLY, IMAGE_ONLY]),
    "empty cells": ({"input_data": {"columns": ["image", "text"], "data": [["", TEXT], [ROW[0], ""]]}},
                    [TEXT_ONLY, IMAGE_ONLY]),
    "uneven columns": ({"inputs": {"image": [ROW[0], ROW[0]], "text": [TEXT]}}, [BOTH, IMAGE_ONLY]),
    "encodebytes": ({"input_data": {"columns": ["image"], "data": [[base64.encodebytes(IMAGE).decode()]]}},
                    [IMAGE_ONLY]),
    "a data: URI": ({"input_data": {"columns": ["image"], "data": [["data:image/png;base64," + ROW[0]]]}},
                    [IMAGE_ONLY]),
    "params null": ({"input_data": {"columns": ["text"], "data": [[TEXT]]}, "params": None}, [TEXT_ONLY]),
    "params empty": ({"input_data": {"columns": ["text"], "data": [[TEXT]]}, "params": {}}, [TEXT_ONLY]),
    "params as words": ({"input_data": {"columns": ["text"], "data": [[TEXT]]},
                         "params": {"get_scaling_factor": "true"}}, [TEXT_ONLY]),
    "azure's numbers as zero": ({"input_data": {"columns": ["image"], "data": [[ROW[0]]]}, "params": {
        "image_standardization_image_size": 0, "image_standardization_jpeg_compression_ratio": 0}}, [IMAGE_ONLY]),
    "dataframe_split": ({"dataframe_split": {"columns": ["image", "text"], "data": [ROW]}}, [BOTH]),
    "dataframe_records": ({"dataframe_records": [{"image": ROW[0], "text": TEXT}]}, [BOTH]),
    "inputs": ({"inputs": [{"text": TEXT}]}, [TEXT_ONLY]),
    "instances": ({"instances": [{"image": ROW[0]}, {"text": TEXT}]}, [IMAGE_ONLY, TEXT_ONLY]),
}  # fmt: skip


@pytest.mark.parametrize("route", ["/score", "/invocations"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_contract(server: ServerProcess, toy: MedImageInsight, route: str, form: str) -> None:
    body, expected = FORMS[form]
    reply = server.post(route, body, {"azureml-model-deployment": "blue"})
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert [set(row) for row in reply.json] == [keys | {"scaling_factor"} for keys in expected]
    for row in reply.json:
        if "image_features" in row:
            np.testing.assert_array_equal(np.float32(row["image_features"][0]), toy.embed_images(IMAGE))
        if "text_features" in row:
            np.testing.assert_array_equal(np.float32(row["text_features"]), toy.embed_texts(TEXT))
        assert row["scaling_factor"] == LOGIT_SCALE


def test_the_model_card_s_sample_gets_its_response_shape(server: ServerProcess) -> None:
    images, texts, scale = server.post("/score", SAMPLE).json
    assert (list(images), list(texts), list(scale)) == (["image_features"], ["text_features"], ["scaling_factor"])
    assert np.shape(images["image_features"]) == np.shape(texts["text_features"]) == (1, 8)
    assert scale["scaling_factor"] == LOGIT_SCALE


def test_responses_can_be_read_by_clients_of_the_hosted_endpoint(server: ServerProcess) -> None:
    result = server.score(ROW, [ROW[0], None], response_shape="rows").json
    assert len(result[0]["image_features"][0]) == len(result[1]["image_features"][0]) == 8
    assert all(isinstance(value, float) for value in result[0]["text_features"])
    (row,) = server.score([None, TEXT]).json
    assert float(row["scaling_factor"]) == LOGIT_SCALE
    (row,) = server.score([None, TEXT], get_scaling_factor=False).json
    assert set(row) == TEXT_ONLY


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_image_formats(server: ServerProcess, toy: MedImageInsight, form: str) -> None:
    image = make_image(2, form=form)
    (row,) = server.score([b64(image), None]).json
    np.testing.assert_array_equal(np.float32(row["image_features"][0]), toy.embed_images(image))


def test_dicom(server: ServerProcess, toy: MedImageInsight) -> None:
    path = get_testdata_file("CT_small.dcm", download=False)
    with open(path, "rb") as file:  # noqa: PTH123
        data = file.read()
    (row,) = server.score([b64(data), None]).json
    np.testing.assert_array_equal(np.float32(row["image_features"][0]), toy.embed_images(path))


@pytest.mark.parametrize("preprocessing", ["direct", "azure"])
def test_both_preprocessings(server: ServerProcess, toy_bundle: Any, preprocessing: Any) -> None:
    from medimageinsight import MedImageInsight

    with MedImageInsight.load(toy_bundle, preprocessing=preprocessing) as local:
        (row,) = server.score(ROW, preprocessing=preprocessing, response_shape="rows").json
        np.testing.assert_array_equal(np.float32(row["image_features"][0]), local.embed_images(IMAGE))


BAD_ROWS: dict[str, tuple[list[str | None], str]] = {
    "neither": ([None, None], "row_empty"),
    "not base64": (["§", None], "image_bad_base64"),
    "no image": ([b64(b"words"), None], "image_not_an_image"),
    "half an image": ([b64(IMAGE[:60]), None], "image_truncated"),
    "a URL": (["https://images.example/1.png", None], "image_url_refused"),
    "a long text": ([None, "a" * 100_001], "text_too_long"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_fails_alone(server: ServerProcess, toy: MedImageInsight, bad: str) -> None:
    row, code = BAD_ROWS[bad]
    alone = server.score(row)
    assert alone.status == 422 if code != "row_empty" else 400 <= alone.status < 500
    assert alone.json["error"]["code"] == code
    among = server.score([ROW[0], None], row, [None, TEXT])
    assert among.status == 200
    good, failed, text = among.json
    assert failed == alone.json
    np.testing.assert_array_equal(np.float32(good["image_features"][0]), toy.embed_images(IMAGE))
    np.testing.assert_array_equal(np.float32(text["text_features"]), toy.embed_texts(TEXT))
    failing = server.score([ROW[0], None], row, on_error="fail")
    assert failing.status == alone.status
    assert failing.json["error"]["code"] == code
    assert "row 1" in failing.json["error"]["message"]


REFUSED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "not JSON": (b"{", {}, 400, "request_not_json"),
    "NaN": (b'{"input_data": NaN}', {}, 400, "request_not_json"),
    "deeply nested": (b"[" * 100_000, {}, 400, "request_not_json"),
    "no object": (b"[]", {}, 400, "request_invalid"),
    "no form": (b"{}", {}, 400, "request_invalid"),
    "a bad parameter": (b'{"instances": [], "params": {"on_error": 1}}', {}, 400, "params_invalid"),
    "a form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "content_type_unsupported"),
    "compressed": (b"{}", {"Content-Encoding": "gzip"}, 415, "content_type_unsupported"),
    "too many rows": (json.dumps({"instances": [{"text": "a"}] * 1025}).encode(), {}, 413, "request_too_many_rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_requests(server: ServerProcess, case: str) -> None:
    body, headers, status, code = REFUSED[case]
    reply = server.post("/score", body, headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert reply.json["error"]["message"]


def test_no_rows_give_an_empty_list(server: ServerProcess) -> None:
    assert server.post("/score", {"instances": []}).json == []


def test_the_query_selects_a_model(server: ServerProcess) -> None:
    assert server.post("/score?model=toy", score_request([None, TEXT])).status == 200
    reply = server.post("/score?model=other", score_request([None, TEXT]))
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")


def test_equal_images_get_equal_features(server: ServerProcess) -> None:
    rows = server.score([ROW[0], None], [b64(make_image(3)), None], [ROW[0], None]).json
    assert rows[0] == rows[2] != rows[1]
