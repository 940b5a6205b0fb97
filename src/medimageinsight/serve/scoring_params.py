"""Parse ``params``, the parameters of a scoring request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from medimageinsight.errors import InputError, RequestError
from medimageinsight.files.json import json_kind
from medimageinsight.preprocess import MAX_FRAME, MAX_IMAGE_SIZE, Steps, parse_json_window, parse_percentiles
from medimageinsight.serve.image_choice import ImageChoice, check_choice
from medimageinsight.serve.vector_encoding import VectorEncoding
from medimageinsight.studies import DEFAULT_POOLING, Pooling, parse_selection

ResponseShape: TypeAlias = Literal["auto", "rows", "card", "labels"]
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
        frame: Index of the frame of multi-frame images.
        window: Canonical text of `images.parse_window`, of ``window`` or ``percentiles``; None for the model's own.
        select: Which images of a file with several are embedded, as in `studies.parse_selection`, and pooled.
        pooling: As in `studies.pool`.
        encoding_format: How vectors are written, see `vector_encoding.encode_vector`.
        on_error: ``in_place`` returns a bad row's error in its position; ``fail`` fails the whole request.
        has_unknown: Whether the request had parameters of other names, which are ignored.
    """

    get_scaling_factor: bool = True
    standardization_size: int | None = None
    jpeg_quality: int | None = None
    preprocessing: Steps | None = None
    response_shape: ResponseShape | None = None
    frame: int = 0
    window: str | None = None
    select: str | None = None
    pooling: Pooling = DEFAULT_POOLING
    encoding_format: VectorEncoding = "float"
    on_error: OnRowError = "in_place"
    has_unknown: bool = field(default=False, compare=False)

    @property
    def image_choice(self) -> ImageChoice:
        """Which images of a file are embedded."""
        return ImageChoice(frame=self.frame, window=self.window, select=self.select, pooling=self.pooling)


_NAMES = {
    "get_scaling_factor", _SIZE, _QUALITY, "preprocessing", "response_shape", "frame", "window", "percentiles",
    "select", "pooling", "encoding_format", "on_error",
}  # fmt: skip
_OF_FILES = ("level", "plane", "windows")  # options of the command line that a request does not have


def parse_params(params: object) -> Params:
    """Parse ``params``. Null, ``{}`` and null parameters mean defaults; unknown names are ignored.

    Raises:
        RequestError: ``params_invalid`` for an invalid value; ``params_not_applicable`` and ``selection_invalid`` for
            one that would have no effect.
    """
    if params is None:
        return Params()
    if not isinstance(params, Mapping):
        raise _invalid("", "an object", params)
    _check_combination(params)
    check_choice(params.get("frame"), params.get("select"), params.get("pooling"))
    return Params(
        get_scaling_factor=_flag(params, "get_scaling_factor", default=True),
        standardization_size=_number(params, _SIZE, MAX_IMAGE_SIZE),
        jpeg_quality=_number(params, _QUALITY, 100),
        preprocessing=_choice(params, "preprocessing", get_args(Steps)),
        response_shape=_choice(params, "response_shape", get_args(ResponseShape)),
        frame=_number(params, "frame", MAX_FRAME) or 0,
        window=_window(params),
        select=_select(params),
        pooling=_choice(params, "pooling", get_args(Pooling)) or DEFAULT_POOLING,
        encoding_format=_choice(params, "encoding_format", get_args(VectorEncoding)) or "float",
        on_error=_choice(params, "on_error", get_args(OnRowError)) or "in_place",
        has_unknown=not _NAMES.issuperset(params),
    )


def _check_combination(params: Mapping[Any, Any]) -> None:
    """Refuse parameters of known names that would have no effect."""
    given = {name for name, value in params.items() if value is not None}
    for name in _OF_FILES:
        if name in given:
            message = f"params: expected no '{name}', which is an option of the command line alone: leave it out"
            raise RequestError(message, code="params_not_applicable")
    if params.get("preprocessing") == "direct" and (params.get(_SIZE) or params.get(_QUALITY)):
        raise RequestError(
            "params: expected 'preprocessing' azure with image_standardization_..., got direct: leave one out",
            code="params_not_applicable",
        )


def _select(params: Mapping[Any, Any]) -> str | None:
    value = params.get("select")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _invalid(".select", "a text such as 'even:16'", value)
    try:
        return str(parse_selection(value))
    except InputError as error:
        raise RequestError(f"params.select: {error.message}", code=error.code) from None


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


def _window(params: Mapping[Any, Any]) -> str | None:
    """Return the canonical text of ``window`` or ``percentiles``; None without either."""
    window, percentiles = params.get("window"), params.get("percentiles")
    if window is not None and percentiles is not None:
        raise _refused("params: expected 'window' or 'percentiles', got both: leave one out")
    try:
        if percentiles is not None:
            return parse_percentiles(percentiles)
        return None if window is None else parse_json_window(window)
    except InputError as error:
        raise _refused(f"params.{'window' if percentiles is None else 'percentiles'}: {error.message}") from None


def _choice(params: Mapping[Any, Any], key: str, choices: tuple[str, ...]) -> Any:  # noqa: ANN401 - one of the choices
    value = params.get(key)
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise _invalid(f".{key}", " or ".join(f"'{choice}'" for choice in choices), value)


def _invalid(key: str, expected: str, value: object) -> RequestError:
    return _refused(f"params{key}: expected {expected}, got {json_kind(value)}")


def _refused(message: str) -> RequestError:
    return RequestError(message, code="params_invalid")
