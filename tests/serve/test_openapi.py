"""The OpenAPI document: its references, examples, limits and keys, and responses as it describes them."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from medimageinsight import images
from medimageinsight.errors import InputError
from medimageinsight.serve import RequestLimits, score, to_json
from medimageinsight.serve.scoring_request import parse_request
from tests.serve.described import MAX_ROWS, PNG, PNG_URI, described, operations
from tests.toy import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

OPEN_PATHS = {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ping", "/version"}
TEXT = "x-ray chest"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def examples() -> list[Any]:
    return [
        pytest.param(path, example["value"], id=f"{path} {title}")
        for method, path, operation in operations(described())
        if method == "post" and "application/json" in operation["requestBody"]["content"]
        for title, example in operation["requestBody"]["content"]["application/json"]["examples"].items()
    ]


def satisfies(schema: dict[str, Any], value: object) -> bool:
    validators = pytest.importorskip("jsonschema_rs", reason="comes with schemathesis")
    whole = {"components": described()["components"], **schema}
    return bool(validators.Draft202012Validator(whole).is_valid(value))


def request_schema(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = described()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def response_schema(status: int) -> dict[str, Any]:
    response = described()["paths"]["/score"]["post"]["responses"][str(status)]
    schema: dict[str, Any] = response["content"]["application/json"]["schema"]
    return schema


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("models", [{}, {"toy": DIM}, {"toy": DIM, "other": 2 * DIM}])
def test_every_reference_resolves(keyed: bool, models: dict[str, int]) -> None:
    document = described(keyed=keyed, models=models)
    for reference in references(document):
        node: Any = document
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]
        assert node
    json.dumps(document)


def test_every_operation_has_a_name_a_response_and_an_example_of_its_body() -> None:
    all_operations = list(operations(described()))
    for method, _, operation in all_operations:
        assert operation["summary"]
        assert ("content" in operation["responses"]["200"]) == (method != "head")
        body = operation.get("requestBody", {"content": {}})["content"].get("application/json")
        assert body is None or body["examples"]
    names = [operation["operationId"] for _, _, operation in all_operations]
    assert len(set(names)) == len(names)


def test_keys_are_required_except_for_health() -> None:
    document = described(keyed=True)
    without_401 = {path for _, path, operation in operations(document) if "401" not in operation["responses"]}
    assert without_401 == OPEN_PATHS
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "security" not in described()
    assert not any("401" in operation["responses"] for _, _, operation in operations(described()))


def test_errors_that_pass_state_when_to_retry() -> None:
    retried = {
        status
        for _, _, operation in operations(described())
        for status, response in operation["responses"].items()
        if "Retry-After" in response.get("headers", ())
    }
    assert retried == {"429", "503"}


def test_the_limits_are_documented_for_people_and_programs() -> None:
    document = described()
    too_large = document["paths"]["/score"]["post"]["responses"]["413"]["description"]
    assert "1,048,576 bytes" in too_large
    assert "3 rows" in too_large
    schemas = document["components"]["schemas"]
    assert schemas["EmbeddingsRequest"]["properties"]["input"]["anyOf"][1]["maxItems"] == MAX_ROWS
    assert schemas["Vector"] == {"type": "array", "items": {"type": "number"}, "minItems": DIM, "maxItems": DIM}
    assert schemas["ModelName"] == {"type": "string", "enum": ["toy"]}
    assert "x-max-rows" not in json.dumps(document)


def test_the_image_of_the_examples_can_be_decoded() -> None:
    assert images.load(PNG_URI).shape == (8, 8, 3)


@pytest.mark.parametrize(("path", "example"), examples())
def test_examples_satisfy_their_schema(path: str, example: dict[str, Any]) -> None:
    assert satisfies(request_schema(path), example)


@pytest.mark.parametrize(
    ("path", "example"), [case for case in examples() if case.values[0] in ("/score", "/invocations")]
)
def test_scoring_examples_have_no_bad_row(path: str, example: dict[str, Any]) -> None:
    rows = parse_request(example).rows
    assert rows
    assert not any(row.error for row in rows)


@pytest.mark.parametrize(("path", "example"), examples())
def test_examples_are_answered_as_described(server: ServerProcess, path: str, example: dict[str, Any]) -> None:
    reply = server.post(path.replace("{model}", "toy"), example)
    content = described()["paths"][path]["post"]["responses"]["200"]["content"]
    assert reply.status == 200
    assert satisfies(content["application/json"]["schema"], reply.json)


QUERIES = {"/api/map": "?store=chest&color=finding", "/api/picture": "?store=chest&id=0&size=16"}
OF_SLIDES = ("/api/slide", "/api/slide/region")  # in test_stored_parts


@pytest.mark.parametrize(
    "path", [path for method, path, _ in operations(described()) if method == "get" and path not in OF_SLIDES]
)
def test_responses_to_get_are_as_described(server: ServerProcess, path: str) -> None:
    url = path.replace("{model}", "toy").replace("{name}", "main.js") + QUERIES.get(path, "")
    reply = server.get(url)
    content = described()["paths"][path]["get"]["responses"]["200"]["content"]
    media_type = reply.headers["content-type"].partition(";")[0]
    assert reply.status == 200
    assert media_type in content
    assert media_type != "application/json" or satisfies(content[media_type]["schema"], reply.json)


ACCEPTED: dict[str, dict[str, Any]] = {
    "rows as lists": {"input_data": {"columns": ["image", "text"], "index": [0], "data": [[PNG, TEXT]]}},
    "rows as objects": {"input_data": {"data": [{"image": PNG, "text": TEXT, "id": 7}]}},
    "one column": {"input_data": {"columns": ["text"], "data": [[TEXT]]}},
    "another column": {"input_data": {"columns": ["id", "text"], "data": [["7", TEXT]]}},
    "missing cells": {"input_data": {"columns": ["image", "text"], "data": [["", TEXT], [PNG, None]]}},
    "rows alone": {"dataframe_records": [{"image": PNG}, [None, TEXT]]},
    "columns alone": {"inputs": {"image": PNG, "text": [TEXT, TEXT]}},
    "no rows": {"instances": []},
    "null params": {"instances": [{"text": TEXT}], "params": None},
    "text for flags": {"instances": [{"text": TEXT}], "params": {"get_scaling_factor": "true", "another": 1}},
    "all params": {
        "instances": [{"image": PNG}],
        "params": {
            "get_scaling_factor": False,
            "image_standardization_image_size": 0,
            "image_standardization_jpeg_compression_ratio": 90,
            "preprocessing": "azure",
            "response_shape": "card",
            "on_error": "fail",
        },
    },
    "another key": {"instances": [{"text": TEXT}], "trace": 1},
    "a bad row among good ones": {"instances": [{"text": TEXT}, {"image": "%"}, {}]},
    "a bad row in a card": {"instances": [{"text": TEXT}, {"image": "%"}], "params": {"response_shape": "card"}},
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_scoring_requests_and_their_responses_are_described(
    body: dict[str, Any], toy: MedImageInsight
) -> None:
    assert satisfies(request_schema("/score"), body)
    answer = score(body, toy)
    assert answer.status == 200
    assert satisfies(response_schema(200), json.loads(to_json(answer)))


REJECTED: dict[str, Any] = {
    "a list": [{"text": TEXT}],
    "no form": {"params": {}},
    "two forms": {"inputs": [{"text": TEXT}], "instances": [{"text": TEXT}]},
    "a string for a table": {"input_data": TEXT},
    "a table without rows": {"input_data": {"columns": ["text"]}},
    "data that is no list": {"input_data": {"data": TEXT, "text": [TEXT]}},
    "no known column": {"input_data": {"columns": ["id"], "data": [["7"]]}},
    "a column twice": {"input_data": {"columns": ["text", "text"], "data": [[TEXT, TEXT]]}},
    "too many rows": {"instances": [{"text": TEXT}] * (MAX_ROWS + 1)},
    "too many cells": {"inputs": {"text": [TEXT] * (MAX_ROWS + 1)}},
    "params that are a list": {"instances": [], "params": []},
    "a flag that is a number": {"instances": [], "params": {"get_scaling_factor": 1}},
    "a quality over 100": {"instances": [], "params": {"image_standardization_jpeg_compression_ratio": 101}},
    "an unknown preprocessing": {"instances": [], "params": {"preprocessing": "other"}},
}


@pytest.mark.parametrize("body", REJECTED.values(), ids=REJECTED)
def test_rejected_scoring_requests_are_not_described(body: Any, toy: MedImageInsight) -> None:
    assert not satisfies(request_schema("/score"), body)
    limits = RequestLimits(max_rows=MAX_ROWS)
    with pytest.raises(InputError):
        parse_request(body, limits=limits)
    answer = score(body, toy, limits=limits)
    assert satisfies(response_schema(answer.status), json.loads(to_json(answer)))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {"input": ""}),
        ("/v1/embeddings", {"input": [1, 2, 3]}),
        ("/v1/embeddings", {"input": [{"image": PNG, "text": TEXT}]}),
        ("/v1/embeddings", {"input": TEXT, "dimensions": 256}),
        ("/v1/embeddings", {"input": TEXT, "encoding_format": "int8"}),
        ("/v1/embeddings", {"input": TEXT, "model": "unknown"}),
        ("/v2/models/{model}/infer", {"inputs": []}),
        (
            "/v2/models/{model}/infer",
            {"inputs": [{"name": "text", "datatype": "FP32", "shape": [1], "data": [TEXT]}]},
        ),
        (
            "/v2/models/{model}/infer",
            {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 2], "data": [TEXT, TEXT]}]},
        ),
        (
            "/v2/models/{model}/infer",
            {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}] * 2},
        ),
        (
            "/v2/models/{model}/infer",
            {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [""]}]},
        ),
    ],
)
def test_rejected_requests_of_the_other_protocols_are_not_described(path: str, body: dict[str, Any]) -> None:
    assert not satisfies(request_schema(path), body)


@pytest.mark.parametrize("page", ["docs.html"])
def test_a_page_loads_nothing_from_elsewhere_and_writes_no_markup(page: str) -> None:
    content = files("medimageinsight.serve").joinpath(page).read_text("utf-8")
    assert not re.search(r"https?://|@import|<link(?! rel=\"icon\" href=\"data:,\")|<script .|\burl\(", content)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|localStorage", content)
    assert not re.search(r"(?:href|src)=\"/|fetch\([\"'`]/", content), "an address that breaks under a root path"
    assert not re.search(r" on[a-z]+=| style=", content), "an attribute that a content security policy forbids"
    assert content.count("<script>") == content.count("<style>") == 1
    assert content.count("For research and development, not for diagnosis or treatment.") == 1
