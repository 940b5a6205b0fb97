"""Parse ``params``, the parameters of a scoring request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from medimageinsight.errors import RequestError
from medimageinsight.files.json import json_kind
from medimageinsight.preprocess import MAX_IMAGE_SIZE, Steps

ResponseShape: TypeAlias = Literal["auto", "rows", "card"]
OnRowError: TypeAlias = Literal["in_place", "fail"]

_SIZE = "image_standardization_image_size"
_QUALITY = "image_standardization_jpeg_compression_ratio"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The parameters of a scoring request.

    Args:
        get_scaling_factor: Include the logit scale in the response.
        standardization_size: Side of the square that ``azure`` resizes to first, in pixels; None for the model's own.
        jpeg_quality: Quality of the JPEG round trip of ``azure``, 1 to 100; None for the model's own.
        preprocessing: ``direct`` or ``azure``; None for the model's own for scoring.
        response_shape: None for the server's own.
        on_error: ``in_place`` returns a bad row's error in its position; ``fail`` fails the whole request.
    """

    get_scaling_factor: bool = True
    standardization_size: int | None = None
    jpeg_quality: int | None = None
    preprocessing: Steps | None = None
    response_shape: ResponseShape | None = None
    on_error: OnRowError = "in_place"


def parse_params(params: object) -> Params:
    """Parse ``params``. Null, ``{}`` and null parameters mean defaults; unknown names are ignored.

    Raises:
        RequestError: ``params_invalid`` for an invalid value.
    """
    if params is None:
        return Params()
    if not isinstance(params, Mapping):
        raise _invalid("", "an object", params)
    return Params(
        get_scaling_factor=_flag(params, "get_scaling_factor", default=True),
        standardization_size=_number(params, _SIZE, MAX_IMAGE_SIZE),
        jpeg_quality=_number(params, _QUALITY, 100),
        preprocessing=_choice(params, "preprocessing", get_args(Steps)),
        response_shape=_choice(params, "response_shape", get_args(ResponseShape)),
        on_error=_choice(params, "on_error", get_args(OnRowError)) or "in_place",
    )


def _flag(params: Mapping[Any, Any], key: str, *, default: bool) -> bool:
    value = params.get(key)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _invalid(f".{key}", "true or false", value)


def _number(params: Mapping[Any, Any], key: str, maximum: int) -> int | None:
    value = params.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        raise _invalid(f".{key}", f"a whole number from 1 to {maximum}, or 0 for the default", value)
    return value or None


def _choice(params: Mapping[Any, Any], key: str, choices: tuple[str, ...]) -> Any:  # noqa: ANN401 - one of the choices
    value = params.get(key)
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise _invalid(f".{key}", " or ".join(f"'{choice}'" for choice in choices), value)


def _invalid(key: str, expected: str, value: object) -> RequestError:
    return RequestError(f"params{key}: expected {expected}, got {json_kind(value)}", code="params_invalid")
