"""Both shapes of the response, the choice between them, and the statuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medimageinsight.errors import ImageError, InputError, RequestError, TextError
from medimageinsight.serve import Features, ScoringResponse, answer_request, parse_request, refuse, to_json

if TYPE_CHECKING:
    from medimageinsight.serve import ResponseShape

SCALE = 4.513362407684326
IMAGE, TEXT = np.array([0.5, -0.25], dtype=np.float32), np.array([-1.0, 0.0], dtype=np.float32)
BOTH = Features(image=IMAGE, text=TEXT)
BAD = ImageError("expected an image, got an empty file", code="image_empty")
ERROR = {"error": {"code": "image_empty", "message": "expected an image, got an empty file"}}
CELLS = {"image": "AAAA", "text": "a"}


def answer(
    results: list[Features | InputError],
    params: dict[str, Any] | None = None,
    *,
    server: ResponseShape = "auto",
) -> ScoringResponse:
    request = parse_request({"instances": [CELLS] * len(results), "params": params})
    return answer_request(request, results, logit_scale=SCALE, response_shape=server)


def rows(results: list[Features | InputError], **params: Any) -> Any:
    found = answer(results, params)
    assert found.status == 200
    return json.loads(to_json(found))


def test_rows_have_the_requested_keys() -> None:
    assert rows([BOTH, Features(image=IMAGE), BAD, Features(text=TEXT)]) == [
        {"image_features": [[0.5, -0.25]], "text_features": [-1.0, 0.0], "scaling_factor": SCALE},
        {"image_features": [[0.5, -0.25]], "scaling_factor": SCALE},
        ERROR,
        {"text_features": [-1.0, 0.0], "scaling_factor": SCALE},
    ]
    assert rows([BOTH], get_scaling_factor=False) == [{"image_features": [[0.5, -0.25]], "text_features": [-1.0, 0.0]}]
    assert rows([]) == []


def test_card_shape() -> None:
    assert rows([BOTH], response_shape="card") == [
        {"image_features": [[0.5, -0.25]]},
        {"text_features": [[-1.0, 0.0]]},
        {"scaling_factor": SCALE},
    ]
    assert rows([BOTH, BOTH], response_shape="card", get_scaling_factor=False) == [
        {"image_features": [[0.5, -0.25]] * 2},
        {"text_features": [[-1.0, 0.0]] * 2},
    ]
    assert rows([Features(image=IMAGE)], response_shape="card") == [
        {"image_features": [[0.5, -0.25]]},
        {"scaling_factor": SCALE},
    ]


def test_card_shape_with_missing_cells_and_bad_rows() -> None:
    assert rows([Features(text=TEXT), BAD, BOTH], response_shape="card", get_scaling_factor=False) == [
        {"image_features": [None, ERROR, [0.5, -0.25]]},
        {"text_features": [[-1.0, 0.0], ERROR, [-1.0, 0.0]]},
    ]
    assert rows([BAD, BAD], response_shape="card") == [ERROR, ERROR]


@pytest.mark.parametrize(
    ("table", "params", "card"),
    [
        ([CELLS], {"get_scaling_factor": True}, True),
        ([CELLS], {"get_scaling_factor": "true"}, False),
        ([CELLS], {"get_scaling_factor": False}, False),
        ([CELLS], {"get_scaling_factor": True, "on_error": "fail"}, False),
        ([CELLS], {}, False),
        ([CELLS], None, False),
        ([CELLS, CELLS], {"get_scaling_factor": True}, False),
        ([{"text": "a"}], {"get_scaling_factor": True}, False),
        ([{"image": "AAAA", "text": ""}], {"get_scaling_factor": True}, False),
        ([CELLS], {"get_scaling_factor": True, "response_shape": "auto"}, False),
    ],
)
def test_auto_is_card_for_the_card_s_sample_only(table: Any, params: Any, card: bool) -> None:
    request = parse_request({"input_data": {"columns": ["image", "text"], "data": table}, "params": params})
    body = answer_request(request, [BOTH] * len(table), logit_scale=SCALE).body
    assert (body[0].keys() == {"image_features"}) is card


def test_the_request_s_shape_precedes_the_server_s() -> None:
    card = {"get_scaling_factor": True}
    assert len(answer([BOTH], card).body) == 3
    assert len(answer([BOTH], card, server="rows").body) == 1
    assert len(answer([BOTH], {}, server="card").body) == 3
    assert len(answer([BOTH], {"response_shape": "rows"}, server="card").body) == 1


def test_a_single_bad_row_fails_the_request() -> None:
    assert answer([BAD]) == ScoringResponse(status=422, body=ERROR)
    assert answer([BAD], {"response_shape": "card"}) == ScoringResponse(status=422, body=ERROR)


def test_on_error_fail_names_the_row() -> None:
    found = answer([BOTH, BAD, BAD], {"on_error": "fail"})
    assert found.status == 422
    message = "row 1, counted from 0: expected an image, got an empty file"
    assert found.body == {"error": {"code": "image_empty", "message": message}}
    assert answer([BOTH, BOTH], {"on_error": "fail"}).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("not of the form"), 400),
        (RequestError("not JSON", code="request_not_json"), 400),
        (RequestError("a row is a number", code="row_invalid"), 400),
        (RequestError("too large", code="request_too_large"), 413),
        (RequestError("too many", code="request_too_many_rows"), 413),
        (ImageError("no image"), 422),
        (TextError("no text"), 422),
        (InputError("neither", code="row_empty"), 422),
    ],
)
def test_statuses(error: InputError, status: int) -> None:
    assert refuse(error) == ScoringResponse(
        status=status, body={"error": {"code": error.code, "message": error.message}}
    )


def test_printed_vectors_have_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(5_000, dtype=np.float32) / 32
    bits = rng.integers(0, 0x7F800000, 5_000, dtype=np.int32).view(np.float32)  # any finite value, tiny ones too
    special = np.array([0, -0.0, 1, -1, 0.1, 1 / 3, 1e-45, np.finfo(np.float32).max], dtype=np.float32)
    vector = np.concatenate([values, bits, -bits, special])
    printed = to_json(ScoringResponse(status=200, body=rows([Features(text=vector)])))
    read = np.array(json.loads(printed)[0]["text_features"], dtype=np.float32)
    np.testing.assert_array_equal(read.view(np.int32), vector.view(np.int32))


def test_json_is_compact_and_short() -> None:
    body = rows([Features(text=np.array([0.1, -0.0404], dtype=np.float32))])
    printed = b'[{"text_features":[0.100000001,-0.0403999984],"scaling_factor":4.513362407684326}]'
    assert to_json(ScoringResponse(status=200, body=body)) == printed
