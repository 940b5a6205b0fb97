"""Fetch the images of URLs in threads: from hosts that the operator allows, and from a DICOMweb server."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from medimageinsight.images import Limits
from medimageinsight.serve.fair_queue import FairPlaces
from medimageinsight.serve.urls import UrlPolicy, fetch
from medimageinsight.studies import DicomWeb
from medimageinsight.studies.dicomweb import read_token

if TYPE_CHECKING:
    from medimageinsight.serve.job import Ticket
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
        self._places = FairPlaces(_THREADS)

    async def fetch(self, url: str, traceparent: str | None, ticket: Ticket) -> bytes:
        """Return the bytes of a URL; a trace is not sent to the DICOMweb server.

        Args:
            url: Of an allowed host, or of the DICOMweb server.
            traceparent: The header to send; None without a trace.
            ticket: Of the request. Requests take turns, so that the slow URLs of one do not delay those of others.

        Raises:
            ImageError: As `urls.fetch`; of the DICOMweb server, the code begins with ``dicomweb_``.
        """
        loop = asyncio.get_running_loop()
        await self._places.take(ticket.owner, ticket)
        fetched = self._threads.submit(self._fetch, url, traceparent)

        def leave(_: object) -> None:  # when the thread is free, however early the caller stops waiting
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._places.leave)

        fetched.add_done_callback(leave)
        return await asyncio.wrap_future(fetched)

    def close(self) -> None:
        """Begin no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, traceparent: str | None) -> bytes:
        if self._dicomweb is not None and url.startswith(self._dicomweb.url + "/"):
            return self._dicomweb.open_instance(url).read(self._limits)
        return fetch(url, self._policy, traceparent)
