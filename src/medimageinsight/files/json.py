"""Files of learned numbers: one JSON document each, read with a limit and strictly, written whole or not at all."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from medimageinsight.errors import ModelError
from medimageinsight.files.atomic import write_text
from medimageinsight.files.strict import MappingError, build, load_json

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

T = TypeVar("T")

FORMAT = 1
MAX_BYTES = 64 << 20  # an adapter of 1,024 x 1,000 float32 is 5.5 MB


def read_document(path: str | os.PathLike[str], cls: type[T], *, kind: str, limit: int = MAX_BYTES) -> T:
    """Read ``{"format", "kind", ...}`` as a dataclass.

    Args:
        path: The file.
        cls: A frozen dataclass for `strict.build`, without the two keys.
        kind: What ``kind`` has to be, as ``"adapter"``; error codes begin with it.
        limit: Bytes that are read at most.

    Raises:
        ModelError: Too large (``adapter_too_large``), of a newer version (``adapter_too_new``), or not of the form
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
        raise invalid(kind, "it is not JSON") from None
    if not isinstance(data, dict) or data.pop("kind", None) != kind:
        raise invalid(kind, "it does not say that it is one")
    version = data.pop("format", None)
    if type(version) is int and version > FORMAT:
        raise ModelError(
            f"expected a {kind} file of format {FORMAT}, got {version}: upgrade medimageinsight-onnx to use it",
            code=f"{kind}_too_new",
        )
    if type(version) is not int or version < 1:
        raise invalid(kind, "its format is no known number")
    try:
        return build(cls, data, kind)
    except (MappingError, ValueError) as error:
        raise invalid(kind, str(error)) from None


def write_document(path: str | os.PathLike[str], document: dict[str, Any], *, kind: str) -> None:
    """Write a document that `read_document` reads; a file that is there is replaced when the new one is whole."""
    text = json.dumps({"format": FORMAT, "kind": kind, **document}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(Path(path), text + "\n")


def encode_array(array: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32 in C order."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode("ascii")


def decode_array(text: str, shape: tuple[int, ...], *, kind: str) -> NDArray[np.float32]:
    """The array of `encode_array`.

    Raises:
        ModelError: Not base64, another number of values, or one that is not finite (``adapter_invalid``).
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(kind, "its weights are not base64") from None
    size = 4
    for side in shape:  # whole numbers of Python: no shape can overflow the check
        size *= side
    if min(shape, default=0) < 1 or len(content) != size:
        raise invalid(kind, f"expected weights of shape {shape}, got {len(content):,} bytes of them")
    array: NDArray[np.float32] = np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise invalid(kind, "its weights hold NaN or infinity")
    return array


def invalid(kind: str, what: str) -> ModelError:
    """The error for a file that is not of the form."""
    return ModelError(f"expected a {kind} file of this project, got another: {what}", code=f"{kind}_invalid")
