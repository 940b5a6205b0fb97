"""Requests to a DICOMweb server (PS3.18): QIDO-RS for studies and series, WADO-RS for headers and instances."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.files.safe_url import is_safe_url
from medimageinsight.studies.dicomweb import errors
from medimageinsight.studies.dicomweb.query import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from medimageinsight.images import Limits

_PAGE = 100  # studies of one response
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY_UID, _SERIES_UID, _SERIES_MODALITY, _SERIES_COUNT = "0020000D", "0020000E", "00080060", "00201209"


class Client:
    """`dicomweb_client` for one server, with a session whose requests are bounded, and results that are checked."""

    def __init__(self, url: str, *, token: str, ca_file: Path | None, **session: Any) -> None:  # noqa: ANN401 - as LimitedSession
        try:
            import dicomweb_client

            from medimageinsight.studies.dicomweb.session import LimitedSession
        except ImportError:
            raise missing_extra("dicomweb", "a DICOMweb server") from None
        self.url = _check_url(url, has_token=bool(token))
        self._session = LimitedSession(self.url, token=token, ca_file=ca_file, **session)
        logging.getLogger("dicomweb_client").setLevel(logging.ERROR)  # it logs URLs, and texts of responses
        try:
            self._client = dicomweb_client.DICOMwebClient(self.url, session=self._session)
        except ValueError:
            raise errors.url_invalid("got a text that is none") from None
        self._client.set_http_retry_params(retry=False)  # the session repeats requests, within its deadline

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def find_studies(self, filters: Mapping[str, str], max_count: int) -> Iterator[str]:
        """Yield the UIDs of matching studies, each once, in pages that are requested when they are needed."""
        found: set[str] = set()
        while len(found) < max_count:
            before = len(found)
            page = self._list(self._client.search_for_studies, limit=_PAGE, offset=before, search_filters=dict(filters))
            for item in page:
                uid = _uid_of(item, _STUDY_UID)
                if uid not in found and len(found) < max_count:
                    found.add(uid)
                    yield uid
            if len(page) < _PAGE or len(found) == before:
                return

    def list_series(self, study: str) -> list[tuple[str, str, int | None]]:
        """Return UID, modality and stated number of instances of each series of a study."""
        listed = []
        for item in self._list(self._client.search_for_series, study):
            uid, count = _uid_of(item, _SERIES_UID), _value_of(item, _SERIES_COUNT)
            number = int(count) if isinstance(count, int | str) and str(count).isdecimal() else None
            listed.append((uid, str(_value_of(item, _SERIES_MODALITY) or ""), number))
        return listed

    def read_headers(self, study: str, series: str) -> list[dict[str, Any]]:
        """Return the DICOM JSON (PS3.18 F) of each instance of a series, without pixels."""
        return self._list(self._client.retrieve_series_metadata, study, series)

    def read_instance(self, url: str, limits: Limits) -> bytes:
        """Return the file of an instance."""
        response = self._session.get(url, headers={"Accept": _ACCEPT})
        data = _only_part(response.headers.get("Content-Type", ""), response.content)
        limits.check_bytes(len(data))
        return data

    def _list(self, call: Callable[..., Any], *arguments: object, **options: object) -> list[dict[str, Any]]:
        """Return the list of objects of a call of the library, whatever else the server responds."""
        try:
            items = call(*arguments, **options)
        except (ImageError, MemoryError):
            raise
        except Exception:  # the library raises anything for a malformed response
            raise errors.invalid("one that cannot be parsed") from None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise errors.invalid("JSON that is no list of objects")
        return items


def _uid_of(item: Mapping[str, Any], tag: str) -> str:
    uid = _value_of(item, tag)
    if not is_uid(uid):
        raise errors.invalid("an item without a valid UID")
    return cast("str", uid)


def _value_of(item: Mapping[str, Any], tag: str) -> object:
    """Return the first value of an element of DICOM JSON; None without one."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _only_part(content_type: str, body: bytes) -> bytes:
    """Return the only part of a multipart/related response, or the body of an application/dicom one."""
    from requests_toolbelt.multipart.decoder import (
        ImproperBodyPartContentException,
        MultipartDecoder,
        NonMultipartContentTypeException,
    )

    if content_type.partition(";")[0].strip().lower() == "application/dicom":  # some servers omit the envelope
        return body
    try:
        parts = MultipartDecoder(body, content_type).parts
    except (
        ImproperBodyPartContentException,
        NonMultipartContentTypeException,
        ValueError,
        LookupError,
        AttributeError,
    ):
        raise errors.invalid("another content type than multipart/related") from None
    if len(parts) != 1:
        raise errors.invalid(f"{len(parts)} images instead of one")
    return cast("bytes", parts[0].content)


def _check_url(url: str, *, has_token: bool) -> str:
    """Return the URL without a slash at its end."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        valid = valid and not (parts.query or parts.fragment) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise errors.url_invalid("got one with another scheme, a user name or a query, or no URL")
    if has_token and not is_safe_url(url):
        raise errors.url_invalid("with https for the token to travel over, got http")
    return url.rstrip("/")
