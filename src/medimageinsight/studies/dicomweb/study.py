"""Studies and instances of a DICOMweb server."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits, dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.dicomweb import errors
from medimageinsight.studies.dicomweb.query import is_uid
from medimageinsight.studies.files import FileCollection, StudyFile
from medimageinsight.studies.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from medimageinsight.studies.dicomweb.client import Client
    from medimageinsight.studies.warnings import OnFailure


@dataclass(frozen=True, eq=False)
class DicomWebStudy(FileCollection):
    """A study on a server; its name is its URL."""

    client: Client = field(repr=False)
    uid: str = field(repr=False)
    modality: str = ""  # of the series that are read; empty for all

    @property
    def name(self) -> str:
        """The URL of the study."""
        return f"{self.client.url}/studies/{self.uid}"

    def __str__(self) -> str:
        return self.name

    def files(self, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:  # noqa: ARG002 - as of all collections
        """Yield the instances with their headers; `failed` is called for a series or instance without a valid one."""
        listed = self.client.list_series(self.uid)
        if not listed:
            # QIDO-RS answers a search for what does not exist with an empty list.
            raise ImageError("expected a study with series, got none: check its UID", code="dicomweb_not_found")
        for uid, modality, stated in listed:
            if self.modality and modality != self.modality:
                continue
            name = f"{self.name}/series/{uid}"
            try:
                items = self.client.read_headers(self.uid, uid)
            except ImageError as error:
                failed(name, error)
                continue
            if stated is not None and len(items) < stated:
                failed(name, errors.incomplete(stated, len(items)))
            for item in items:
                try:
                    yield _instance(self.client, self.uid, uid, item)
                except ImageError as error:
                    failed(name, error)


@dataclass(frozen=True, eq=False)
class InstanceFile(StudyFile):
    """An instance on a server, transferred when it is read."""

    client: Client = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    dataset: Dataset | None = field(default=None, repr=False)

    @property
    def origin(self) -> Origin:
        """The URL of the instance."""
        url = f"{self.client.url}/studies/{self.study}/series/{self.series}/instances/{self.instance}"
        return Origin(path=url)

    def header(self, limits: Limits) -> Dataset | None:  # noqa: ARG002 - as of all files
        """Return the dataset without pixels; None if the instance was named by its URL alone."""
        return self.dataset

    def open(self) -> BinaryIO:
        """Return a file object of the instance, which is in memory."""
        return BytesIO(self.read(Limits()))

    def read(self, limits: Limits) -> bytes:
        """Return the instance.

        Raises:
            ImageError: The codes begin with ``dicomweb_``; ``dicomweb_wrong_instance`` for that of another.
        """
        data = self.client.read_instance(self.origin.path, limits)
        if not dicom.is_dicom(data):
            raise errors.invalid("no DICOM file")
        with suppress_decoder_warnings():
            header = dicom.read_header(BytesIO(data), limits, ["SOPInstanceUID"]).dataset
        if str(header.get("SOPInstanceUID", "")) != self.instance:
            raise errors.wrong_instance()
        return data


def _instance(client: Client, study: str, series: str, item: dict[str, Any]) -> InstanceFile:
    from pydicom.dataset import Dataset

    try:
        with suppress_decoder_warnings():
            dataset = Dataset.from_json(item, bulk_data_uri_handler=lambda *_: None)
            uids = [str(dataset.get(key, "")) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    except Exception:  # pydicom raises anything for malformed values
        raise errors.invalid("a header that cannot be parsed") from None
    if uids[:2] != [study, series] or not is_uid(uids[2]):
        raise errors.wrong_instance()
    return InstanceFile(client, study, series, uids[2], dataset)
