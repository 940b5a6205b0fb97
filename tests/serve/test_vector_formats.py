"""Vectors of scoring responses as numbers, or in base64 of float32 or float16; and the client that asks for them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from medimageinsight.client import Endpoint
from medimageinsight.errors import EndpointError, ImageError, InputError, TextError
from medimageinsight.schemas import ScoreParams
from medimageinsight.serve.scoring_params import parse_params
from tests.client.scripted_server import ScriptedServer, rows_response, running
from tests.serve.server_process import b64, make_image

if TYPE_CHECKING:
    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

DTYPES = {"base64": "<f4", "base64_float16": "<f2"}
IMAGE = b64(make_image(3))


def decoded(cell: str, form: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(cell, validate=True), DTYPES[form])


@pytest.mark.parametrize("form", sorted(DTYPES))
def test_rows_have_the_same_keys_with_base64_in_place_of_numbers(server: ServerProcess, form: str) -> None:
    cells = ([IMAGE, "x-ray"], [None, "x-ray"], [b64(b"none"), None])
    plain = server.score(*cells).json
    packed = server.score(*cells, encoding_format=form).json
    assert [list(row) for row in packed] == [list(row) for row in plain]
    assert packed[2] == plain[2]
    ((image,), text) = packed[0]["image_features"], packed[0]["text_features"]
    for cell, numbers in ((image, plain[0]["image_features"][0]), (text, plain[0]["text_features"])):
        np.testing.assert_array_equal(decoded(cell, form), np.float32(numbers).astype(DTYPES[form]))
    assert packed[0]["scaling_factor"] == plain[0]["scaling_factor"]


def test_the_shape_of_the_card(server: ServerProcess) -> None:
    params = {"response_shape": "card", "encoding_format": "base64"}
    images, texts, _ = server.score([IMAGE, "x-ray"], [None, "mri"], [b64(b"none"), None], **params).json
    numbers, _, _ = server.score([IMAGE, "x-ray"], [None, "mri"], [b64(b"none"), None], response_shape="card").json
    assert images["image_features"][1] is None
    assert images["image_features"][2] == numbers["image_features"][2]
    np.testing.assert_array_equal(
        decoded(images["image_features"][0], "base64"), np.float32(numbers["image_features"][0])
    )
    assert [type(cell) for cell in texts["text_features"][:2]] == [str, str]


def test_the_default_and_null_change_no_byte(server: ServerProcess) -> None:
    plain = server.score([IMAGE, "x-ray"], response_shape="rows").body
    for value in (None, "float"):
        assert server.score([IMAGE, "x-ray"], response_shape="rows", encoding_format=value).body == plain


def test_invocations_and_the_other_routes(server: ServerProcess) -> None:
    body = {"dataframe_records": [{"text": "x-ray"}], "params": {"encoding_format": "base64"}}
    (row,) = server.post("/invocations", body).json
    openai = server.post("/v1/embeddings", {"input": "x-ray", "encoding_format": "base64"}).json
    assert row["text_features"] == openai["data"][0]["embedding"]


@pytest.mark.parametrize("value", ["BASE64", "base32", "", 1, True, ["base64"], {}])
def test_another_value_is_refused(server: ServerProcess, value: Any) -> None:
    reply = server.score([None, "x-ray"], encoding_format=value)
    assert (reply.status, reply.json["error"]["code"]) == (400, "params_invalid")
    assert "encoding_format" in reply.json["error"]["message"]


def test_tensors_are_not_encoded(server: ServerProcess) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x-ray"]}
    body = {"inputs": [tensor], "parameters": {"encoding_format": "base64"}}
    reply = server.post("/v2/models/toy/infer", body)
    assert (reply.status, reply.json["error"].partition(":")[0]) == (400, "params_invalid")


def test_the_description_states_what_the_server_accepts() -> None:
    described = ScoreParams.model_json_schema()["properties"]["encoding_format"]
    (choices,) = (choice["enum"] for choice in described["anyOf"] if "enum" in choice)
    assert described["default"] == parse_params({}).encoding_format
    for choice in choices:
        assert parse_params({"encoding_format": choice}).encoding_format == choice


@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_client_gets_the_same_bits(server: ServerProcess, toy: MedImageInsight, form: Any) -> None:
    images, texts = [make_image(seed) for seed in range(3)], ["x-ray", "mri"]
    with Endpoint(server.url, encoding_format=form) as endpoint:
        for image in images:  # one by one: the last bits depend on how batches are formed
            np.testing.assert_array_equal(endpoint.embed_images(image), toy.embed_images(image))
        for text in texts:
            np.testing.assert_array_equal(endpoint.embed_texts(text), toy.embed_texts(text))
        assert endpoint.embedding_dim == 8
        found = endpoint.embed_images([images[0], b"none"], errors="return")
        assert isinstance(found[1], ImageError)
        with pytest.raises(TextError):
            endpoint.embed_texts("x " * 100_000)


def test_float16_is_close(server: ServerProcess, toy: MedImageInsight) -> None:
    with Endpoint(server.url, encoding_format="base64_float16") as endpoint:
        found = endpoint.embed_texts("x-ray")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, toy.embed_texts("x-ray").astype(np.float16))


@pytest.mark.parametrize("form", ["base64", "base64_float16"])
def test_a_server_that_does_not_know_it(toy: MedImageInsight, form: Any) -> None:
    vector = toy.embed_texts("x-ray")
    with running(ScriptedServer(toy)) as scripted, Endpoint(scripted.url, encoding_format=form) as endpoint:
        scripted.script = [rows_response({"text_features": vector.tolist()})]
        np.testing.assert_array_equal(endpoint.embed_texts("x-ray"), vector)
        ((_, _, body),) = scripted.requests
        assert body["params"]["encoding_format"] == form
        np.testing.assert_array_equal(endpoint.embed_images(make_image()), toy.embed_images(make_image()).astype(
            np.float16 if form == "base64_float16" else np.float32))  # fmt: skip


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "AAA",
        "AAAA",
        "no base64!",
        "AACAfw==",
        "AAAAAAAA\n",
        "AAAAAAAA" * 2 + "é",
        ["AACAPw==", "AACAPw=="],
        [["AACAPw=="]],
    ],
)
def test_responses_that_are_no_vector(toy: MedImageInsight, cell: Any) -> None:
    with running(ScriptedServer(toy)) as scripted, Endpoint(scripted.url, encoding_format="base64") as endpoint:
        scripted.script = [(200, {}, json.dumps([{"text_features": cell}]).encode())]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("x-ray")
        assert caught.value.code == "endpoint_bad_answer"


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        Endpoint("http://127.0.0.1:1/", encoding_format="bf16")  # type: ignore[arg-type]
    assert caught.value.code == "encoding_format_invalid"
