"""``mi2 listen``: receive what a PACS sends, and add it to a store."""

import signal
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    Model,
    Preprocessing,
    StoreLocation,
    Window,
    open_or_plan,
    store_context,
)
from medimageinsight.errors import ConfigError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import ColumnType, IndexReport, PatientIdentity, PlannedStore, Store
    from medimageinsight.studies import ReceivedSeries, Receiver

_POLL_S = 1.0
_RETRY_S = 30.0
_LEVELS = ("image", "series", "study")


def listen(
    store: StoreLocation,
    calling: Annotated[
        list[str] | None, typer.Option(metavar="TITLE", help="AE title of a sender; others are rejected; repeatable.")
    ] = None,
    spool: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for received files until they are in the store.")
    ] = None,
    title: Annotated[str, typer.Option(help="The own AE title, which senders must call.")] = "MI2",
    host: Annotated[str, typer.Option(help="Address to listen on. Default: this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any that is free.")] = 11112,
    level: Annotated[
        str, typer.Option(metavar="image|series|study", help="What to store a vector of; several with commas.")
    ] = "image",
    select: Annotated[
        str, typer.Option(metavar="WHICH", help="Images of a series that are used, as all or even:16.")
    ] = "all",
    quiet_seconds: Annotated[
        float, typer.Option(min=0, help="A series is complete when no image of it came for this time.")
    ] = 10,
    max_spool_gb: Annotated[
        float, typer.Option(min=0.001, help="Gigabytes of files that are not yet in the store; senders wait beyond.")
    ] = 20,
    max_associations: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 8,
    leave_files: Annotated[
        bool, typer.Option("--leave-files", help="Leave the files in --spool, so that results can be shown.")
    ] = False,
    dicom_tags: Annotated[
        bool, typer.Option("--dicom-tags", help="Store modality, body part, view, age and sex.")
    ] = False,
    patient_id: Annotated[
        str, typer.Option(metavar="none|hashed|plain", help="How --dicom-tags stores the PatientID, if at all.")
    ] = "none",
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate for TLS, in PEM format.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Authorities whose certificates senders must have.")
    ] = None,
    window: Window = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
) -> None:
    """Receive images by DICOM C-STORE from allowed AE titles, and add them to a store, until SIGTERM or Ctrl-C.

    A sender gets a success when its image is on the disk; files are removed once they are in the store. What is left
    when the process ends is added at the next start. Needs the extras 'dicomweb' and 'search'.
    """
    from medimageinsight.search import check_patient_identity
    from medimageinsight.studies import Receiver, ReceiverSettings, parse_selection

    levels = tuple(dict.fromkeys(level.split(",")))
    if not set(levels) <= set(_LEVELS):
        raise InputError(f"expected --level to be {', '.join(_LEVELS)}, got another", code="level_unknown")
    if not calling or spool is None:
        raise InputError("expected --calling TITLE and --spool DIR, got one or none: name them", code="listen_invalid")
    parse_selection(select)
    check_patient_identity(patient_id)
    with error_context(tls_cert):
        tls = _make_context(tls_cert, tls_key, tls_ca)
    with error_context(spool, ConfigError):
        settings = ReceiverSettings(
            spool=spool, calling=frozenset(calling), title=title, host=host, port=port, quiet_s=quiet_seconds,
            max_spool_bytes=int(max_spool_gb * 1e9), max_associations=max_associations, tls=tls,
        )  # fmt: skip
    with store_context(store):
        loaded, opened = open_or_plan(store, model, preprocessing, window=window, accept_maps=accept_maps)
    patient: PatientIdentity | None = patient_id if dicom_tags else None  # type: ignore[assignment]  # checked above
    adder = _Adder(loaded, opened, levels, select, patient)
    with opened, _stop_signals() as stopping, Receiver(settings) as receiver:
        output.note(f"listening on {host}:{receiver.port} as {title}, for {', '.join(sorted(calling))}")
        while not stopping.is_set():
            series = receiver.wait(timeout_s=_POLL_S)
            if series is not None and not _add(receiver, adder, series, retain=leave_files):
                stopping.wait(_RETRY_S)
        receiver.stop()
        while (series := receiver.wait(timeout_s=0, stopped=True)) is not None:
            if not _add(receiver, adder, series, retain=leave_files):
                break
        output.note(f"stopped; the store has {opened.count():,} items")


class _Adder:
    """Adds series to a store."""

    def __init__(
        self,
        model: "MedImageInsight",
        store: "Store | PlannedStore",
        levels: tuple[str, ...],
        select: str,
        patient: "PatientIdentity | None",
    ) -> None:
        self._model, self._store, self._levels, self._select, self._patient = model, store, levels, select, patient

    def add(self, folder: Path) -> "IndexReport":
        """Embed the files of a folder and add or replace their items."""
        from medimageinsight import studies
        from medimageinsight.search import dicom_column_types, index_studies, read_dicom_metadata

        types: dict[str, ColumnType] = {} if self._patient is None else dicom_column_types(self._patient)
        failed: dict[str, InputError] = {}
        report = index_studies(
            self._model,
            self._store,
            studies.read(folder, select=self._select, failed=failed.__setitem__),
            levels=self._levels,  # type: ignore[arg-type]  # checked by listen
            read_header=None
            if self._patient is None
            else lambda source: read_dicom_metadata(
                source, patient=self._patient or "none", salt=bytes.fromhex(self._store.identity.salt)
            ),
            types=types,
            existing="update",
        )
        report.failed.update(failed)
        return report


def _add(receiver: "Receiver", adder: _Adder, series: "ReceivedSeries", *, retain: bool) -> bool:
    """Add a series; return False if the store cannot be written to, so that the files wait."""
    try:
        report = adder.add(series.folder)
    except StoreError as error:
        receiver.put_back(series)
        output.error(f"{error.message} (the received files wait in the spool folder)")
        return False
    for name, failure in report.failed.items():
        output.error(failure.message, source=Path(name).name)
    receiver.finish(series, retain=retain)
    output.note(f"a series of {len(series.files):,} files: {report.added:,} items added, {report.updated:,} updated")
    return True


@contextmanager
def _stop_signals() -> "Iterator[threading.Event]":
    """Yield an event that SIGTERM and SIGINT set, instead of ending the process."""
    stopping = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in previous:
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _make_context(cert: Path | None, key: Path | None, authorities: Path | None) -> ssl.SSLContext | None:
    """Return the context of TLS; None without a certificate."""
    if cert is None:
        if key is not None or authorities is not None:
            raise InputError("expected --tls-cert with --tls-key and --tls-ca, got none: add it", code="listen_invalid")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    if authorities is not None:
        context.load_verify_locations(authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
