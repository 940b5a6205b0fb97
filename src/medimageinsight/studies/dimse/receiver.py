"""A C-STORE service class provider (PS3.4 B) that writes what an allowed sender sends to a spool folder."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

from medimageinsight.errors import ConfigError, ImageError, missing_extra
from medimageinsight.images import Limits, dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.dimse.spool import ReceivedSeries, Spool, SpoolFullError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

# Statuses of C-STORE (PS3.4 table B.2-1).
_SUCCESS, _NO_RESOURCES, _NO_MATCH, _NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
_MIN_FREE_BYTES = 1 << 28  # of the disk, which others use too
_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")  # PS3.5 6.2, AE: no backslash, no spaces at the ends
_END_S = 10.0  # for associations to end by themselves when the receiver stops


@dataclass(frozen=True, kw_only=True)
class ReceiverSettings:
    """What a receiver accepts.

    Args:
        spool: The folder of files that are not yet indexed.
        calling: AE titles that may send; others are rejected.
        title: The own AE title, which a sender must call.
        host: The address to listen on.
        port: The port; 0 is any that is free.
        quiet_s: A series is complete when no image of it has come for this many seconds.
        max_spool_bytes: Maximum bytes of files that are not yet indexed; beyond, senders get status A700H.
        max_instance_bytes: Maximum bytes of one image; a longer one ends its association.
        max_associations: Maximum number of associations at once.
        max_pdu_bytes: Maximum length of a PDU that senders are asked for.
        tls: A context for connections over TLS; None for none.
    """

    spool: Path
    calling: frozenset[str]
    title: str = "MI2"
    host: str = "127.0.0.1"
    port: int = 11112
    quiet_s: float = 10
    max_spool_bytes: int = 20 << 30
    max_instance_bytes: int = 1 << 30
    max_associations: int = 8
    max_pdu_bytes: int = 1 << 17
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if not self.calling:
            raise ConfigError(
                "expected the AE titles that may send, got none: name each sender", code="ae_titles_missing"
            )
        if not all(_TITLE.fullmatch(title) for title in (self.title, *self.calling)):
            raise ConfigError(
                "expected AE titles of 1 to 16 ASCII characters without a backslash, got another: correct it",
                code="ae_title_invalid",
            )


class Receiver:
    """Receives images, and returns a series when it is complete.

        with Receiver(ReceiverSettings(spool=folder, calling=frozenset({"PACS"}))) as receiver:
            series = receiver.wait(timeout_s=60)
            ...                                     # read series.folder
            receiver.finish(series)

    An image is on the disk before its sender gets a success. Files that were left by an earlier process are returned
    first. Nothing about patients is logged.

    Raises:
        ConfigError: ``address_not_available``.
        MissingExtraError: The extra ``dicomweb`` is not installed.
    """

    def __init__(self, settings: ReceiverSettings) -> None:
        try:
            import pynetdicom
        except ImportError:
            raise missing_extra("dicomweb", "receiving images from a PACS") from None
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it logs elements of datasets
        self._settings = settings
        self._spool = Spool(settings.spool, settings.max_spool_bytes)
        self._received: dict[int, int] = {}  # bytes of the current message, by association
        self._lock = threading.Lock()
        self._entity = _make_entity(settings)
        handlers = [
            (pynetdicom.evt.EVT_C_STORE, self._store),
            (pynetdicom.evt.EVT_DATA_RECV, self._count),
            (pynetdicom.evt.EVT_CONN_CLOSE, self._forget),
        ]
        try:
            self._server = self._entity.start_server(
                (settings.host, settings.port), block=False, evt_handlers=handlers, ssl_context=settings.tls
            )
        except OSError as error:
            raise ConfigError(
                f"expected an address to listen on, got: {error.strerror or type(error).__name__}: choose another host "
                "or port",
                code="address_not_available",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that the receiver listens on."""
        return int(self._server.server_address[1])

    def wait(self, *, timeout_s: float, stopped: bool = False) -> ReceivedSeries | None:
        """Return a complete series, or None if there is none in time; every one is complete when no more can come."""
        return self._spool.wait(0 if stopped else self._settings.quiet_s, timeout_s)

    def finish(self, series: ReceivedSeries, *, retain: bool = False) -> None:
        """Remove the files of a series that was indexed, or leave them in the folder."""
        self._spool.finish(series, retain=retain)

    def put_back(self, series: ReceivedSeries) -> None:
        """Let a series wait again that could not be indexed."""
        self._spool.put_back(series)

    def stop(self) -> None:
        """Accept no more associations, and end: those that are open may finish for some seconds."""
        self._entity.maximum_associations = 0
        end = time.monotonic() + _END_S
        while self._entity.active_associations and time.monotonic() < end:
            time.sleep(0.05)
        self._entity.shutdown()

    def _store(self, event: Any) -> int:  # noqa: ANN401 - pynetdicom's own
        """Return the status of one image."""
        with self._lock:
            self._received.pop(id(event.assoc), None)
        try:
            data = event.encoded_dataset()
            instance = str(event.request.AffectedSOPInstanceUID)
            with suppress_decoder_warnings():
                header = dicom.read_header(
                    BytesIO(data), Limits(max_bytes=self._settings.max_instance_bytes),
                    ["SOPInstanceUID", "SeriesInstanceUID"],
                ).dataset  # fmt: skip
                series = str(header.get("SeriesInstanceUID") or "")
                stated = str(header.get("SOPInstanceUID") or "")
        except (ImageError, AttributeError, ValueError, TypeError):
            return _NOT_UNDERSTOOD
        if not series or not instance:
            return _NOT_UNDERSTOOD
        if stated != instance:
            return _NO_MATCH
        try:
            if self._spool.free_bytes() < len(data) + _MIN_FREE_BYTES:
                return _NO_RESOURCES
            self._spool.add(series, instance, data)
        except (SpoolFullError, OSError):
            return _NO_RESOURCES
        return _SUCCESS

    def _count(self, event: Any) -> None:  # noqa: ANN401 - pynetdicom's own
        """End the association of a sender whose message does not end."""
        with self._lock:
            count = self._received.get(id(event.assoc), 0) + len(event.data)
            self._received[id(event.assoc)] = count
        if count > self._settings.max_instance_bytes:
            event.assoc.abort()

    def _forget(self, event: Any) -> None:  # noqa: ANN401 - pynetdicom's own
        with self._lock:
            self._received.pop(id(event.assoc), None)


def _make_entity(settings: ReceiverSettings) -> Any:  # noqa: ANN401 - pynetdicom's own
    """Return an application entity for images of all storage classes, in any transfer syntax, and for C-ECHO."""
    import pynetdicom
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

    entity = pynetdicom.AE(ae_title=settings.title)
    entity.require_called_aet = True
    entity.require_calling_aet = sorted(settings.calling)
    entity.maximum_associations = settings.max_associations
    entity.maximum_pdu_size = settings.max_pdu_bytes
    entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = 10, 30, 60
    entity.add_supported_context(Verification)
    for context in pynetdicom.AllStoragePresentationContexts:
        uid = context.abstract_syntax
        if uid is not None and "Image Storage" in uid.name:
            entity.add_supported_context(uid, pynetdicom.ALL_TRANSFER_SYNTAXES)
    return entity
