"""Decode the response of a scoring server: the features or the error of each row, or the error of the request."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from medimageinsight.errors import EndpointError, ImageError, InputError, TextError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from medimageinsight.client.connections import Response

    Vector: TypeAlias = NDArray[np.float32]  # (D,)

Column: TypeAlias = Literal["image", "text"]
VectorFormat: TypeAlias = Literal["float", "base64", "base64_float16"]

_DTYPES = {"base64": "<f4", "base64_float16": "<f2"}
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_PATH_ADVICE = "give the URL of the scoring route, as .../score, or that of the server with a slash at its end"
_ADVICE = {
    401: "check the key",
    403: "check the key",
    404: _PATH_ADVICE,
    405: _PATH_ADVICE,
    413: "choose a smaller batch_size",
    429: "it is busy, try later",
    503: "it is busy or not ready, try later",
}


def decode_rows(body: bytes, expected: int, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> list[Any]:
    """Return the rows of a response.

    Args:
        body: The response's.
        expected: The number of rows.
        kind: What a row without an error is.

    Raises:
        EndpointError: The body is not a JSON list of ``expected`` objects, or of lists and errors.
    """
    rows = _parse(body)
    if not isinstance(rows, list):
        raise unexpected_response("a JSON list of objects", "text that is no JSON" if rows is None else _kind(rows))
    if wrong := [row for row in rows if not isinstance(row, kind) and not (isinstance(row, dict) and "error" in row)]:
        raise unexpected_response("a JSON list of objects", f"a list with {_kind(wrong[0])}")
    if len(rows) != expected:
        raise unexpected_response(f"{expected} rows", f"{len(rows)}")
    return rows


def decode_features(row: Mapping[str, Any], column: Column, encoding: VectorFormat = "float") -> Vector | InputError:
    """Return the features of one row, nested (1, D) as the hosted endpoint's images or flat (D,); or its error.

    Args:
        row: The row.
        column: Which features.
        encoding: What the request asked for; a server that does not know it answers with numbers.
    """
    if "error" in row:
        return _row_error(row["error"], column)
    features = row.get(f"{column}_features")
    if encoding in _DTYPES:
        features = _decode_base64(features, _DTYPES[encoding])
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(features, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):  # texts, uneven lists, integers of a thousand digits
        raise unexpected_response("numbers as features", f"{_kind(features)} without them") from None
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1 or not vector.size:
        raise unexpected_response("one vector as features", f"an array of shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise unexpected_response("finite numbers as features", "NaN or infinity")
    return vector


def decode_scores(row: object) -> dict[str, float] | InputError:
    """Return the scores of labels of one row, in its order; or its error."""
    if isinstance(row, dict):
        return _row_error(row.get("error"), "image")
    scores: dict[str, float] = {}
    for item in row if isinstance(row, list) else ():
        match item:
            case {"label": str(label), "score": float() | int() as score} if math.isfinite(score):
                scores[label] = float(score)
            case _:
                raise unexpected_response("objects with label and score", _kind(item))
    return scores


def decode_scaling_factor(value: object) -> float:
    """Return the scaling factor, given as a number or as text.

    Raises:
        EndpointError: It is not a finite number.
    """
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise unexpected_response("a number as scaling_factor", f"{_kind(value)} without one")
    return number


def decode_error(response: Response) -> object:
    """Return the ``error`` in the body of a failed request, None without one."""
    content = _parse(response.body)
    return content.get("error") if isinstance(content, dict) else None


def request_failed(response: Response) -> EndpointError:
    """Return the error for a failed request, with the server's error code only: its message may repeat the request."""
    match decode_error(response):
        case {"code": str(code)} if _CODE.fullmatch(code):
            got = f"{response.status} ({code})"
        case _:
            got = f"{response.status}"
    advice = _ADVICE.get(response.status, "check that the URL is that of a scoring endpoint, and the server's log")
    return EndpointError(f"expected status 200 from the endpoint, got {got}: {advice}", status=response.status)


def unexpected_response(expected: str, got: str) -> EndpointError:
    """Return the error for a response that violates the contract."""
    return EndpointError(
        f"expected {expected} in the endpoint's answer, got {got}: check that the URL is that of a scoring endpoint",
        code="endpoint_bad_answer",
        status=200,
    )


def _decode_base64(features: object, dtype: str) -> object:
    """Return the numbers of a vector in base64, nested or flat; anything else as it is."""
    match features:
        case str(text) | [str(text)]:
            pass
        case _:
            return features
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype)
    except (ValueError, binascii.Error):
        raise unexpected_response("vectors in base64", "other text") from None


def _row_error(error: object, column: Column) -> ImageError | TextError:
    kind = ImageError if column == "image" else TextError
    match error:
        case {"code": str(code), "message": str(message)}:
            return kind(" ".join(message.split()), code=code)
    return kind(
        f"expected an input that the endpoint accepts, got a rejection of this {column} without a reason",
        code=f"{column}_refused",
    )


def _parse(body: bytes) -> object:
    """Return the JSON value; None for invalid JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
