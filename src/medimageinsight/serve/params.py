"""The parameters of a scoring request: ``params`` beside the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from medimageinsight.errors import RequestError
from medimageinsight.preprocess import LARGEST_SIZE, Steps

ResponseShape: TypeAlias = Literal["auto", "rows", "card"]
OnRowError: TypeAlias = Literal["in_place", "fail"]

_SIZE = "image_standardization_image_size"
_QUALITY = "image_standardization_jpeg_compression_ratio"


@dataclass(frozen=True, kw_only=True)
class Params:
    """What a request asks for beside its rows.

    Args:
        get_scaling_factor: Whether the answer has the logit scale.
        standardization_size: Side of the square that ``azure`` resizes to first, in pixels; None is the model's own.
        jpeg_quality: Of the JPEG round trip of ``azure``, 1 to 100; None is the model's own.
        preprocessing: ``direct`` or ``azure``; None is the model's own for scoring.
        response_shape: None is the server's own.
        on_error: Whether a bad row is answered in its place or fails the whole request.
    """

    get_scaling_factor: bool = True
    standardization_size: int | None = None
    jpeg_quality: int | None = None
    preprocessing: Steps | None = None
    response_shape: ResponseShape | None = None
    on_error: OnRowError = "in_place"


def parse_params(given: object) -> Params:
    """Read ``params``; null, ``{}`` and a parameter that is null are defaults, and other names are ignored.

    Raises:
        RequestError: ``params_invalid`` for a value that a parameter cannot have.
    """
    if given is None:
        return Params()
    if not isinstance(given, Mapping):
        raise _invalid("an object", "")
    return Params(
        get_scaling_factor=_flag(given, "get_scaling_factor", default=True),
        standardization_size=_number(given, _SIZE, LARGEST_SIZE),
        jpeg_quality=_number(given, _QUALITY, 100),
        preprocessing=_choice(given, "preprocessing", get_args(Steps)),
        response_shape=_choice(given, "response_shape", get_args(ResponseShape)),
        on_error=_choice(given, "on_error", get_args(OnRowError)) or "in_place",
    )


def _flag(given: Mapping[Any, Any], key: str, *, default: bool) -> bool:
    value = given.get(key)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _invalid("true or false", f".{key}")


def _number(given: Mapping[Any, Any], key: str, largest: int) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise _invalid(f"a whole number from 1 to {largest}, or 0 for the default", f".{key}")
    return value or None


def _choice(given: Mapping[Any, Any], key: str, choices: tuple[str, ...]) -> Any:  # noqa: ANN401 - one of the choices
    value = given.get(key)
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise _invalid(" or ".join(f"'{choice}'" for choice in choices), f".{key}")


def _invalid(expected: str, key: str) -> RequestError:
    return RequestError(f"params{key}: expected {expected}, got something else", code="params_invalid")
