"""Requests as models: what is converted (nothing), what is refused, and errors without a request's text."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pydantic", reason="the schemas need the serve or the mcp extra")

from medimageinsight import schemas
from medimageinsight.errors import InputError, RequestError
from medimageinsight.schemas import RequestModel, validate

SECRET = "Mrs Example"
SEARCH = {"store": "chest", "text": "x"}
CLASSIFY = {"images": ["AAAA"], "labels": ["a"]}


def error_of(model: type[RequestModel], content: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        validate(model, content)
    return caught.value


def test_null_is_absent() -> None:
    request = validate(schemas.SearchRequest, SEARCH | {"k": None, "image": None, "where": None, "exact": None})
    assert (request.k, request.image, request.where, request.exact) == (10, None, None, False)
    assert "the member 'store', got none" in error_of(schemas.SearchRequest, SEARCH | {"store": None}).message


@pytest.mark.parametrize(
    ("member", "value"),
    [("k", "3"), ("k", True), ("k", 3.0), ("exact", 1), ("exact", "true"), ("min_score", "0.5"), ("min_score", True)],
)
def test_nothing_is_converted(member: str, value: Any) -> None:
    error = error_of(schemas.SearchRequest, SEARCH | {member: value})
    assert isinstance(error, RequestError)
    assert error.code == "request_invalid"
    assert f"'{member}' to be " in error.message


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        (schemas.ClassifyRequest, [], "expected the body to be an object, got a list of 0 items"),
        (schemas.ClassifyRequest, CLASSIFY | {"images": []}, "'images' to have at least 1 item, got a list of 0 items"),
        (schemas.ClassifyRequest, CLASSIFY | {"images": [7]}, "'images[0]' to be a string, got a whole number"),
        (
            schemas.ClassifyRequest,
            CLASSIFY | {"labels": 0.5},
            "'labels' to be a list or to be an object, got a decimal",
        ),
        (schemas.ClassifyRequest, CLASSIFY | {"fields": False}, "'fields' to be an object, got a boolean"),
        (schemas.CompareRequest, {"a": [{"text": "x", "image": "y"}]}, "a[0]: expected exactly one of 'image', 'text'"),
        (schemas.SearchRequest, {"store": "chest"}, "exactly one of 'image', 'text', 'id', 'vector', got none"),
        (schemas.SearchRequest, SEARCH | {"k": 0}, "'k' to be greater than or equal to 1, got a whole number"),
        (schemas.SearchRequest, SEARCH | {"text": ""}, "'text' to have at least 1 character, got a string of 0"),
        (
            schemas.ViewRequest,
            {"image": "AAAA", "size": 1},
            "no members but model, image, frame, window, got 1 unknown",
        ),
    ],
)
def test_errors_name_what_was_expected_and_the_kind_that_came(
    model: type[RequestModel], content: Any, message: str
) -> None:
    assert message in error_of(model, content).message


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (schemas.ClassifyRequest, CLASSIFY | {SECRET: 1}),
        (schemas.ClassifyRequest, CLASSIFY | {"labels": {SECRET: [1]}}),
        (schemas.ClassifyRequest, CLASSIFY | {"labels": {SECRET: SECRET, "b": 1}}),
        (schemas.ClassifyRequest, CLASSIFY | {"frame": SECRET}),
        (schemas.CompareRequest, {"a": [{"text": "x", SECRET: 1}]}),
        (schemas.EmbeddingsRequest, {"input": [SECRET, {SECRET: 1}]}),
        (schemas.EmbeddingsRequest, {"input": "x", "dimensions": SECRET}),
        (schemas.InferRequest, {"inputs": [{"name": SECRET, "datatype": SECRET, "shape": [1], "data": [SECRET]}]}),
        (schemas.TagArguments, {"images": ["x"], "vocabulary": SECRET}),
    ],
)
def test_errors_contain_no_text_of_the_request(model: type[RequestModel], content: Any) -> None:
    assert SECRET not in error_of(model, content).message


def test_optional_members_without_a_value_are_left_out() -> None:
    hit: dict[str, Any] = {"id": "1", "path": "1.png", "score": 0.5, "metadata": {}}
    assert schemas.FoundImage(**hit).members() == hit
    assert schemas.FoundImage(**hit, thumbnail=2).members() == {**hit, "picture": 2}
    assert schemas.StoredPoint(x=0, y=0, id="1", label=None).members()["label"] is None


def test_public_names_are_sorted() -> None:
    assert schemas.__all__ == sorted(schemas.__all__)
