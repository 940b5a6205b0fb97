from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def request(*rows: list[str | None], **params: object) -> bytes:
    table = {"columns": ["image", "text"], "index": list(range(len(rows))), "data": rows}
    return json.dumps({"input_data": table, "params": params}).encode()


def encoded(path: Path) -> str:
    return base64.encodebytes(path.read_bytes()).decode()


def test_reads_request_from_standard_input_or_a_file(mi2, image_files: list[Path], tmp_path: Path) -> None:
    body = request([encoded(image_files[0]), None], [None, "x-ray chest"])
    (tmp_path / "request.json").write_bytes(body)
    piped, named, dashed = (
        mi2("score", stdin=body),
        mi2("score", tmp_path / "request.json"),
        mi2("score", "-", stdin=body),
    )
    assert piped.code == 0
    assert piped.out == named.out == dashed.out
    first, second = piped.json
    assert np.shape(first["image_features"]) == (1, 8)
    assert np.shape(second["text_features"]) == (8,)
    assert first["scaling_factor"] == second["scaling_factor"] == 4.5


def test_both_response_shapes(mi2, image_files: list[Path]) -> None:
    body = request([encoded(image_files[0]), "x-ray chest"])
    rows = mi2("score", "--response-shape", "rows", stdin=body).json
    card = mi2("score", "--response-shape", "card", stdin=body).json
    assert [sorted(entry) for entry in rows] == [["image_features", "scaling_factor", "text_features"]]
    assert [list(entry) for entry in card] == [["image_features"], ["text_features"], ["scaling_factor"]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "request_not_json"),
        (b"", "request_not_json"),
        (b"{}", "request_invalid"),
        (request(["", ""]), "row_empty"),
        (request(["AAAA", None]), "image_not_an_image"),
    ],
)
def test_status_other_than_200_has_exit_code_1(mi2, body: bytes, code: str) -> None:
    result = mi2("score", stdin=body)
    assert result.code == 1
    assert result.json["error"]["code"] == code


def test_rejects_unknown_shape_and_missing_file(mi2) -> None:
    assert mi2("score", "--response-shape", "odd").code == 2
    missing = mi2("score", "/no/such.json")
    assert missing.code == 1
    assert missing.err.startswith("error: /no/such.json: expected ")
