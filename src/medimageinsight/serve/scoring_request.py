"""Parse scoring requests: every body that clients of the hosted endpoint send, to rows of image bytes and texts.

A body is one of ``{"input_data": table}``, ``{"dataframe_split": table}``, ``{"dataframe_records": table}``,
``{"inputs": table}`` or ``{"instances": table}``, optionally with the key ``params``. A table is any of

    {"columns": ["image", "text"], "index": [0], "data": [["<base64>", "x-ray chest"]]}     (rows as lists or objects)
    [{"image": "<base64>", "text": "x-ray chest"}]                                          (rows only)
    {"image": ["<base64>"], "text": ["x-ray chest"]}                                        (columns only)

A cell is missing if it is null, an empty string or absent. Unknown columns and parameters are ignored, as by the
hosted endpoint. A body of another form is refused as a whole; a bad row is returned with its error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NoReturn, TypeGuard

from medimageinsight.errors import ImageError, InputError, RequestError, TextError
from medimageinsight.files.json import json_kind
from medimageinsight.images import decode_base64
from medimageinsight.serve.image_choice import FIRST_IMAGE, ImageChoice
from medimageinsight.serve.scoring_params import Params, parse_params

FORMS = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances")
COLUMNS = ("image", "text")


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The limits of one request.

    RequestLimits(max_bytes=20 << 20, max_rows=64)
    """

    max_bytes: int = 100 << 20  # of the body
    max_rows: int = 1024


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a request: an encoded image or its URL, a text, or both; or the error of a bad row."""

    image: bytes | None = None
    image_url: str | None = None
    text: str | None = None
    error: InputError | None = None
    choice: ImageChoice = FIRST_IMAGE


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """A scoring request.

    Args:
        rows: In the order of the body.
        params: The request's parameters.
        is_card_sample: One row with both cells and the parameters exactly ``{"get_scaling_factor": true}``: the sample
            of the hosted model's card, whose response has another shape than all others.
    """

    rows: tuple[Row, ...]
    params: Params
    is_card_sample: bool


def parse_request(
    body: bytes | Mapping[str, Any],
    *,
    limits: RequestLimits = RequestLimits(),
    allow_urls: bool = False,
) -> ScoreRequest:
    """Parse a scoring request of any form that this module documents.

    Args:
        body: JSON, or the parsed value.
        limits: ``max_bytes`` applies to bytes only.
        allow_urls: Accept http(s) URLs as image cells; nothing is fetched here.

    Raises:
        RequestError: The body is not JSON (``request_not_json``) or not of a known form (``request_invalid``), a
            parameter has an unknown value (``params_invalid``), the body is too large (``request_too_large``) or has
            too many rows (``request_too_many_rows``).
    """
    content = _parse_json(body, limits.max_bytes) if isinstance(body, bytes) else body
    if not isinstance(content, Mapping):
        raise _invalid("a JSON object with the key 'input_data'", json_kind(content))
    params = parse_params(content.get("params"))
    columns, raw_rows = _table(_only_form(content))
    check_rows(len(raw_rows), limits.max_rows)
    rows = tuple(_row(raw, columns, params, allow_urls=allow_urls) for raw in raw_rows)
    return ScoreRequest(rows=rows, params=params, is_card_sample=_is_card_sample(rows, content.get("params")))


def _parse_json(body: bytes, max_bytes: int) -> object:
    if len(body) > max_bytes:
        raise RequestError(
            f"expected a body of at most {max_bytes:,} bytes, got {len(body):,}: send the rows in several requests",
            code="request_too_large",
        )
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise not_json() from None


def not_json() -> RequestError:
    """Return the error for a body that is not JSON."""
    return RequestError(
        "expected JSON in UTF-8, got bytes that cannot be parsed: write the body with a JSON library",
        code="request_not_json",
    )


def check_rows(count: int, max_rows: int) -> None:
    """Refuse a request with too many rows (``request_too_many_rows``)."""
    if count > max_rows:
        raise RequestError(
            f"expected at most {max_rows:,} rows, got {count:,}: send them in several requests",
            code="request_too_many_rows",
        )


def _only_form(content: Mapping[str, Any]) -> object:
    forms = [form for form in FORMS if form in content]
    if len(forms) != 1:
        raise _invalid(f"exactly one of the keys {', '.join(FORMS)}", f"{len(forms)} of them")
    return content[forms[0]]


def _table(table: object) -> tuple[Sequence[str], Sequence[object]]:
    """Return the names of the columns, for rows that are lists, and the rows."""
    if _is_list(table):
        return COLUMNS, table
    if not isinstance(table, Mapping):
        raise _invalid("a table, as an object with 'columns' and 'data' or as a list of rows", json_kind(table))
    if "data" in table:
        data = table["data"]
        if not _is_list(data):
            raise _invalid("a list of rows as 'data'", json_kind(data))
        return _column_names(table.get("columns")), data
    if any(column in table for column in COLUMNS):
        return COLUMNS, list(zip_longest(*(_column(table.get(column)) for column in COLUMNS)))
    raise _invalid("a table with the key 'data', or with 'image' or 'text'", "none of them")


def _column_names(columns: object) -> Sequence[str]:
    if columns is None:
        return COLUMNS
    if not _is_list(columns):
        raise _invalid("a list of names as 'columns'", json_kind(columns))
    for column in columns:
        if not isinstance(column, str):
            raise _invalid("names in the list 'columns'", json_kind(column))
    counts = [columns.count(column) for column in COLUMNS]
    if not any(counts) or max(counts) > 1:
        raise _invalid("'image', 'text' or both among the columns, once each", f"{counts[0]} and {counts[1]} of them")
    return columns


def _column(cells: object) -> Sequence[object]:
    """Return the cells of one column, which may be a single cell instead of a list."""
    if _is_list(cells):
        return cells
    return [] if cells is None else [cells]


def _row(raw: object, columns: Sequence[str], params: Params, *, allow_urls: bool) -> Row:
    try:
        cells = _cells(raw, columns)
        image, text = (None if cells.get(column) == "" else cells.get(column) for column in COLUMNS)
        if image is None and text is None:
            raise InputError("expected an image, a text or both in a row, got neither", code="row_empty")
        return make_row(image, text, params.image_choice, allow_urls=allow_urls)
    except InputError as error:
        return Row(error=error)


def make_row(image: object, text: object, choice: ImageChoice = FIRST_IMAGE, *, allow_urls: bool = False) -> Row:
    """Make a row of an image cell and a text cell, each None if missing.

    Raises:
        InputError: A cell is of another type, the image is not base64, or is a URL although none is allowed.
    """
    if allow_urls and isinstance(image, str) and _is_url(image):
        return Row(image_url=image.strip(), text=_check_text(text), choice=choice)
    return Row(image=_decode_image(image), text=_check_text(text), choice=choice)


def _cells(raw: object, columns: Sequence[str]) -> Mapping[str, object]:
    if isinstance(raw, Mapping):
        return raw
    if not _is_list(raw):
        raise RequestError(f"expected a row as a list or an object, got {json_kind(raw)}", code="row_invalid")
    if len(raw) > len(columns):
        raise RequestError(
            f"expected at most {len(columns)} cells in a row, one a column, got {len(raw)}", code="row_invalid"
        )
    return dict(zip(columns, raw, strict=False))  # cells at the end of a row may be missing


def _decode_image(cell: object) -> bytes | None:
    if cell is None:
        return None
    if not isinstance(cell, str):
        raise ImageError(
            f"expected an image as a string of base64 or a data: URI, got {json_kind(cell)}", code="image_not_a_string"
        )
    if _is_url(cell):
        raise ImageError(
            "expected an image as base64 or a data: URI, got a URL, and nothing is fetched from a network: "
            "download it first",
            code="image_url_refused",
        )
    return decode_base64(cell)


def _is_url(cell: str) -> bool:
    return cell[:16].lstrip().lower().startswith(("http://", "https://"))


def _check_text(cell: object) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    raise TextError(f"expected a text as a string, got {json_kind(cell)}", code="text_not_a_string")


def _is_card_sample(rows: tuple[Row, ...], params: object) -> bool:
    return (
        len(rows) == 1
        and (rows[0].image is not None or rows[0].image_url is not None)
        and rows[0].text is not None
        and isinstance(params, Mapping)
        and list(params) == ["get_scaling_factor"]
        and params["get_scaling_factor"] is True
    )


def _is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _invalid(expected: str, got: str) -> RequestError:
    return RequestError(f"expected {expected}, got {got}", code="request_invalid")
