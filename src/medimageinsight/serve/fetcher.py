"""Fetch the images of URLs in threads: from hosts that the operator allows, and from a DICOMweb server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from medimageinsight.images import Limits
from medimageinsight.serve.urls import UrlPolicy, fetch
from medimageinsight.studies import DicomWeb
from medimageinsight.studies.dicomweb import read_token

if TYPE_CHECKING:
    from medimageinsight.serve.settings import ServerSettings

_THREADS = 8
_DICOMWEB_TIMEOUT_S = 30
_DICOMWEB_ATTEMPTS = 2


class ImageFetcher:
    """The images of URLs, for all models of a server.

    The address of the DICOMweb server is the operator's own, so it may be private, as that of a PACS usually is; of
    other hosts all addresses must be public.

    Raises:
        InputError: The DICOMweb server's URL or token is invalid.
        MissingExtraError: There is one, and the extra ``dicomweb`` is not installed.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._policy = UrlPolicy(hosts=frozenset(settings.url_hosts), max_bytes=settings.max_body_bytes)
        self._limits = Limits(max_bytes=settings.max_body_bytes)
        self._dicomweb: DicomWeb | None = None
        if settings.dicomweb is not None:
            self._dicomweb = DicomWeb(
                settings.dicomweb,
                token="" if settings.dicomweb_token_file is None else read_token(settings.dicomweb_token_file),
                timeout_s=_DICOMWEB_TIMEOUT_S,
                attempts=_DICOMWEB_ATTEMPTS,
                connections=_THREADS,
                max_bytes=settings.max_body_bytes,
            )
        self._threads = ThreadPoolExecutor(_THREADS, "mi2-fetch")

    async def fetch(self, url: str, traceparent: str | None) -> bytes:
        """Return the bytes of a URL; a trace is not sent to the DICOMweb server.

        Raises:
            ImageError: As `urls.fetch`; of the DICOMweb server, the code begins with ``dicomweb_``.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, url, traceparent)

    def close(self) -> None:
        """Begin no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, traceparent: str | None) -> bytes:
        if self._dicomweb is not None and url.startswith(self._dicomweb.url + "/"):
            return self._dicomweb.open_instance(url).read(self._limits)
        return fetch(url, self._policy, traceparent)
