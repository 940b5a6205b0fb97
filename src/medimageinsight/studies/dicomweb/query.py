"""Queries for studies as one line of text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a server must match studies by (PS3.18 table 10.6.1-5) or often does; the modality selects series too.
KEYWORDS = (
    "AccessionNumber", "Modality", "PatientID", "PatientName", "ReferringPhysicianName", "StudyDate",
    "StudyDescription", "StudyID", "StudyInstanceUID", "StudyTime",
)  # fmt: skip
_NEXT = re.compile(r",(?=[A-Za-z]+=)")  # a comma within a value is followed by something else
_UID = re.compile(r"[0-9][0-9.]{0,63}")


def parse_query(text: str) -> dict[str, str]:
    """Return the filters of a query such as ``Modality=CT,StudyDate=20240101-20240131``.

    Raises:
        InputError: ``dicomweb_query_invalid``.
    """
    parts = [part.partition("=") for part in _NEXT.split(text.strip())]
    filters = {name.strip(): value.strip() for name, _, value in parts}
    check_filters(filters)
    if len(filters) < len(parts):
        raise _invalid("each of them once, got one twice")
    return filters


def check_filters(filters: Mapping[str, str]) -> None:
    """Refuse filters that servers need not know, and a query for everything.

    Raises:
        InputError: ``dicomweb_query_invalid``.
    """
    if not filters or not all(filters.values()):
        raise _invalid("a value for each, got none")
    if not set(filters) <= set(KEYWORDS):
        raise _invalid("no other name, got one")


def is_uid(value: object) -> bool:
    """Return whether a value is a DICOM UID, which may be put into a path."""
    return isinstance(value, str) and _UID.fullmatch(value) is not None


def _invalid(reason: str) -> InputError:
    return InputError(
        f"expected a query such as Modality=CT,StudyDate=20240101-20240131 of {', '.join(KEYWORDS)}, {reason}: "
        "write it so",
        code="dicomweb_query_invalid",
    )
