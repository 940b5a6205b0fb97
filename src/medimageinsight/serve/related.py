"""Responses of WADO-RS (PS3.18 10.4): an instance in a ``multipart/related`` body."""

from __future__ import annotations

import re

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

_INSTANCE = re.compile(r"/studies/[0-9.]{1,64}/series/[0-9.]{1,64}/instances/[0-9.]{1,64}/?(?:\?.*)?$")
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def names_instance(path: str) -> bool:
    """Return whether the path of a URL is that of an instance on a DICOMweb server."""
    return _INSTANCE.search(path) is not None


def only_part(content_type: str, body: bytes) -> bytes | None:
    """Return the one part of a ``multipart/related`` body, the body itself for other types; None if it is malformed."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related":
        return body
    parts: list[bytearray] = []
    ended: list[bool] = []
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": lambda: parts.append(bytearray()),
                "on_part_data": lambda data, start, end: parts[-1].extend(memoryview(data)[start:end]),
                "on_end": lambda: ended.append(True),
            },
        )
        parser.write(body)
        parser.finalize()
    except (KeyError, MultipartParseError):
        return None
    return bytes(parts[0]) if len(parts) == 1 and ended else None
