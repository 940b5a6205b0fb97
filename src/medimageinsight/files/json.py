"""Strict JSON, and JSON documents with a kind and a format number, such as adapters and taggers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from medimageinsight.errors import ModelError
from medimageinsight.files.atomic import write_text
from medimageinsight.files.strict import MappingError, build

if TYPE_CHECKING:
    import os

T = TypeVar("T")

FORMAT = 1
MAX_BYTES = 64 << 20  # an adapter of 1,024 x 1,000 float32 has 5.5 MB


def load_json(content: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON strictly: NaN, infinity and duplicate keys are refused.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)


def json_kind(value: object) -> str:
    """Return the type of a JSON value in words, never the value."""
    kinds = ((bool, "a boolean"), (str, "a string"), (int | float, "a number"), (list | tuple, "a list"))
    if value is None:
        return "null"
    return next((name for kind, name in kinds if isinstance(value, kind)), "an object")


def read_document(path: str | os.PathLike[str], cls: type[T], *, kind: str, limit: int = MAX_BYTES) -> T:
    """Read a JSON document ``{"format", "kind", ...}`` as a dataclass for `strict.build`, without these two keys.

    ``kind``, such as ``"adapter"``, is required; error codes begin with it.

    Raises:
        ModelError: Too large (``adapter_too_large``), of a newer format (``adapter_too_new``), or invalid
            (``adapter_invalid``).
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ModelError(
            f"expected a {kind} file of at most {limit:,} bytes, got a larger one: is it the right file?",
            code=f"{kind}_too_large",
        )
    try:
        data = load_json(content)
    except (ValueError, RecursionError):
        raise invalid_file(kind, "it is not JSON") from None
    if not isinstance(data, dict) or data.pop("kind", None) != kind:
        raise invalid_file(kind, f'its "kind" is not "{kind}"')
    version = data.pop("format", None)
    if type(version) is int and version > FORMAT:
        raise ModelError(
            f"expected a {kind} file of format {FORMAT}, got {version}: upgrade medimageinsight-onnx to use it",
            code=f"{kind}_too_new",
        )
    if type(version) is not int or version < 1:
        raise invalid_file(kind, 'its "format" is not a positive integer')
    try:
        return build(cls, data, kind)
    except (MappingError, ValueError) as error:
        raise invalid_file(kind, str(error)) from None


def write_document(path: str | os.PathLike[str], document: dict[str, Any], *, kind: str) -> None:
    """Write a document for `read_document` in one step; an existing file is replaced."""
    text = json.dumps({"format": FORMAT, "kind": kind, **document}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(Path(path), text + "\n")


def invalid_file(kind: str, reason: str) -> ModelError:
    """Return the error for an invalid document."""
    return ModelError(f"expected a {kind} file of this project, got an invalid file: {reason}", code=f"{kind}_invalid")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("expected unique keys, got a key twice")
    return data
