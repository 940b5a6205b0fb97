"""Read ``multipart/form-data`` as it arrives: the files and texts to embed, and parameters, within limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from medimageinsight.errors import RequestError, TextError
from medimageinsight.serve.scoring_request import check_rows

MAX_HEADER_BYTES = 8 << 10  # of one part; browsers send less than one
MAX_PARAMETERS = 16
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_TEXT = b"text"


@dataclass(kw_only=True)
class FormData:
    """The content of a form.

    Args:
        inputs: Files as bytes and texts as strings, in order; the error of a text that is not UTF-8.
        params: The other fields, by name.
    """

    inputs: list[bytes | str | TextError] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)


class FormReader:
    """Parses a form whose chunks are given to `write`.

    A part with a file name, or with a content type that is not text, is a file. The field ``text`` is a text to embed,
    every other field a parameter. Names of files are not read.

    Args:
        boundary: Of the header Content-Type.
        max_rows: Most files and texts.

    Raises:
        RequestError: ``request_invalid``, the boundary is missing or invalid.
    """

    def __init__(self, boundary: bytes | None, *, max_rows: int) -> None:
        if boundary is None or not _BOUNDARY.fullmatch(boundary):
            raise _invalid("a boundary in Content-Type: multipart/form-data", "none or an invalid one")
        self.form = FormData()
        self._max_rows = max_rows
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())  # name, value
        self._header_bytes = 0
        self._content = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._add_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Parse the next part of the body.

        Raises:
            RequestError: It is no form (``request_invalid``), or has too many files and texts
                (``request_too_many_rows``).
        """
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise _invalid("multipart/form-data", "a body that cannot be parsed") from None

    def finish(self) -> FormData:
        """Return the content after the last chunk.

        Raises:
            RequestError: ``request_invalid``, the end of the form is missing.
        """
        if not self._ended:
            raise _invalid("a form with its closing boundary", "a part of one")
        return self.form

    def _begin_part(self) -> None:
        self._headers, self._header_bytes, self._content = {}, 0, bytearray()

    def _add_header(self, index: int, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _invalid(f"at most {MAX_HEADER_BYTES:,} bytes of headers in a part", "more")
        self._header[index].extend(data)

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def _end_part(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        name: bytes = options.get(b"name", b"")
        if disposition != b"form-data" or not name:
            raise _invalid("parts with Content-Disposition: form-data; name=...", "another part")
        media_type, _ = parse_options_header(self._headers.get(b"content-type", b"text/plain"))
        is_file = b"filename" in options or b"filename*" in options or not media_type.startswith(b"text/")
        content, self._content = bytes(self._content), bytearray()
        if is_file:
            self._add_input(content)
        elif name == _TEXT:
            self._add_input(_decode(content))
        else:
            self._add_parameter(_decode(name), _decode(content))

    def _add_input(self, value: bytes | str | TextError) -> None:
        check_rows(len(self.form.inputs) + 1, self._max_rows)
        self.form.inputs.append(value)

    def _add_parameter(self, name: Any, value: Any) -> None:  # noqa: ANN401 - texts, or errors of texts
        if not isinstance(name, str) or not isinstance(value, str):
            raise _invalid("fields in UTF-8", "other bytes")
        if name in self.form.params or len(self.form.params) >= MAX_PARAMETERS:
            raise _invalid("every field but files and 'text' once", "a repeated field or too many")
        self.form.params[name] = value

    def _end(self) -> None:
        self._ended = True


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a header Content-Type names, None without one."""
    boundary: bytes | None = parse_options_header(content_type)[1].get(b"boundary")
    return boundary


def _decode(data: bytes) -> str | TextError:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return TextError("expected a text in UTF-8, got other bytes", code="text_not_unicode")


def _invalid(expected: str, got: str) -> RequestError:
    return RequestError(f"expected {expected}, got {got}", code="request_invalid")
