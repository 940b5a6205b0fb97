"""What a server's answer says: the features or the error of each row, and why a whole request failed."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from medimageinsight.errors import EndpointError, ImageError, InputError, TextError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from medimageinsight.client.transport import Reply

    Vector: TypeAlias = NDArray[np.float32]  # (D,)

Column: TypeAlias = Literal["image", "text"]

_CODE = re.compile(r"[a-z0-9_]{1,64}")
_ADVICE = {
    401: "check the key",
    403: "check the key",
    404: "check the path of the URL",
    413: "choose a smaller batch_size",
    429: "it is busy, try later",
    503: "it is busy or not ready, try later",
}


def read_rows(body: bytes, expected: int) -> list[dict[str, Any]]:
    """The rows of an answer, as many as were sent.

    Raises:
        EndpointError: It has another form.
    """
    rows = _parse(body)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise bad_answer("a JSON list of objects", "something else")
    if len(rows) != expected:
        raise bad_answer(f"{expected} rows", f"{len(rows)}")
    return rows


def read_row(row: Mapping[str, Any], column: Column) -> Vector | InputError:
    """The features of one row, nested (1, D) as the hosted endpoint's images or flat (D,); or the row's error."""
    if "error" in row:
        return _row_error(row["error"], column)
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(row.get(f"{column}_features"), dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):  # words, uneven lists, integers of a thousand digits
        raise bad_answer("numbers as features", "something else") from None
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        raise bad_answer("one vector of finite numbers as features", "something else")
    return vector


def _row_error(stated: object, column: Column) -> ImageError | TextError:
    kind = ImageError if column == "image" else TextError
    match stated:
        case {"code": str(code), "message": str(message)}:
            return kind(" ".join(message.split()), code=code)
    return kind(
        f"expected an input that the endpoint can use, it refused this {column} and gave no reason",
        code=f"{column}_refused",
    )


def raised(result: Vector | InputError) -> Vector:
    """The features; an error is raised."""
    if isinstance(result, InputError):
        raise result
    return result


def read_scale(value: object) -> float:
    """The scaling factor, a number or one in words.

    Raises:
        EndpointError: It is neither.
    """
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise bad_answer("a number as scaling_factor", "something else")
    return number


def _parse(body: bytes) -> object:
    """The JSON value; None for what is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stated_error(reply: Reply) -> object:
    """What the body of a failed request has as its error."""
    answer = _parse(reply.body)
    return answer.get("error") if isinstance(answer, dict) else None


def failed(reply: Reply) -> EndpointError:
    """Of what the server says, only its code is told: the rest may be of any length and repeat anything."""
    match stated_error(reply):
        case {"code": str(code)} if _CODE.fullmatch(code):
            got = f"{reply.status} ({code})"
        case _:
            got = f"{reply.status}"
    advice = _ADVICE.get(reply.status, "check that the URL is that of a scoring endpoint, and the server's log")
    return EndpointError(f"expected status 200 from the endpoint, got {got}: {advice}", status=reply.status)


def bad_answer(expected: str, got: str) -> EndpointError:
    """The error for an answer of another form than the contract's."""
    return EndpointError(
        f"expected {expected} in the endpoint's answer, got {got}: check that the URL is that of a scoring endpoint",
        code="endpoint_bad_answer",
        status=200,
    )
