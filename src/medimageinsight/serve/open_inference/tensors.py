"""Tensors as bytes: the binary tensor extension of HTTP, and the raw contents of gRPC.

A BYTES tensor is a sequence of elements, each a length (unsigned, 32 bits, little-endian) and as many bytes. With the
extension, a request's or response's JSON is followed by the tensors whose parameters have ``binary_data_size``, in the
order of the JSON, and the header `HEADER_LENGTH` has the length of the JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import schemas
from medimageinsight.errors import RequestError
from medimageinsight.serve.http import parse_json, print_json
from medimageinsight.serve.scoring_request import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSION = "binary_tensor_data"
_LENGTH_BYTES = 4
# Base64, a data: URI or a URL, as in JSON; a plain PNM file ("P2 ...") has the same characters as base64.
_TEXTUAL = re.compile(rb"(?!P[1-6]\s)\s*(data:|https?://|[A-Za-z0-9+/\-_=\s]+\Z)", re.IGNORECASE)
_HEAD_BYTES = 4096  # of an image file: enough to have a byte that base64 never has


def read_request(body: bytes, header_length: str | None, max_rows: int) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value of a request, in which ``data`` has the elements of each binary tensor as bytes.

    Args:
        body: JSON, and binary tensors if the header is given.
        header_length: The request's `HEADER_LENGTH`.
        max_rows: Maximum number of elements of a tensor.

    Raises:
        RequestError: ``request_not_json``, ``request_invalid`` or ``request_too_many_rows``.
    """
    size = len(body) if header_length is None else _parse_length(header_length, len(body))
    value = parse_json(body if size == len(body) else body[:size])
    inputs = value.get("inputs") if isinstance(value, Mapping) else None
    offset = size
    for tensor in inputs if isinstance(inputs, list) else ():
        data_size = _binary_size(tensor)
        if data_size is None:
            continue
        if header_length is None:
            raise _invalid(f"the header {HEADER_LENGTH} of a request with binary tensors", "none")
        if "data" in tensor:
            raise _invalid("an input with 'data' or 'binary_data_size'", "both")
        if data_size > len(body) - offset:
            raise _invalid(f"{data_size:,} bytes of a binary tensor", f"{len(body) - offset:,}")
        tensor["data"] = read_elements(body[offset : offset + data_size], tensor.get("shape"), max_rows)
        offset += data_size
    if offset != len(body):
        raise _invalid("a body that ends with its last binary tensor", f"{len(body) - offset:,} bytes more")
    return value


def read_elements(content: bytes, shape: object, max_rows: int) -> list[bytes]:
    """Return the elements of a BYTES tensor.

    Raises:
        RequestError: ``request_invalid`` for lengths or a number of elements that do not fit, or
            ``request_too_many_rows``.
    """
    count = _count_elements(shape)
    check_rows(count, max_rows)
    elements: list[bytes] = []
    offset = 0
    while offset < len(content):
        if len(elements) == count:
            raise _invalid(f"{count} elements in a BYTES tensor, as its shape states", "more")
        start = offset + _LENGTH_BYTES
        offset = start + int.from_bytes(content[offset:start], "little")
        if offset > len(content):
            raise _invalid("elements of a BYTES tensor, each with its length before it", "an end within an element")
        elements.append(content[start:offset])
    if len(elements) < count:
        raise _invalid(f"{count} elements in a BYTES tensor, as its shape states", f"{len(elements)}")
    return elements


def decode_image(element: bytes) -> bytes | str:
    """Return the text of an element that is base64, a data: URI or a URL, else the element, an image file."""
    return element.decode("ascii", "replace") if _TEXTUAL.match(element[:_HEAD_BYTES]) else element


def write_response(response: schemas.InferResponse, request: schemas.InferRequest) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON if binary tensors follow.

    Args:
        response: With its tensors as arrays.
        request: States which tensors are binary.
    """
    outputs: list[Any] = []
    parts: list[bytes] = []
    for tensor in response.outputs:
        if isinstance(tensor, schemas.OutputTensor) and request.is_binary(tensor.name):
            parts.append(to_bytes(tensor.data))
            size = schemas.BinarySize(binary_data_size=len(parts[-1]))
            outputs.append(schemas.BinaryOutputTensor(name=tensor.name, shape=tensor.shape, parameters=size))
        else:
            outputs.append(tensor)
    members = {**response.members(), "outputs": outputs}
    head = print_json(members)
    return b"".join([head, *parts]), len(head) if parts else None


def to_bytes(values: NDArray[np.float32]) -> bytes:
    """Return an array as little-endian float32."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _parse_length(text: str, size: int) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) > size:
        raise _invalid(f"{HEADER_LENGTH} as a whole number, at most the body's {size:,} bytes", "another value")
    return int(text)


def _binary_size(tensor: object) -> int | None:
    """Return the bytes of a tensor after the JSON; None if it has none, or is no tensor at all."""
    parameters = tensor.get("parameters") if isinstance(tensor, Mapping) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise _invalid("'binary_data_size' as a whole number of bytes", "another value")
    return size


def _count_elements(shape: object) -> int:
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise _invalid("a 'shape' of whole numbers", "another value")
    return math.prod(shape)


def _invalid(expected: str, got: str) -> RequestError:
    return RequestError(f"expected {expected}, got {got}", code="request_invalid")
