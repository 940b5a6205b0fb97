"""A DICOMweb server as a source of studies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.studies.dicomweb.client import Client
from medimageinsight.studies.dicomweb.errors import not_named
from medimageinsight.studies.dicomweb.query import check_filters, is_uid, parse_query
from medimageinsight.studies.dicomweb.study import DicomWebStudy, InstanceFile

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

_PATH = re.compile(r"/studies/([^/]+)/series/([^/]+)/instances/([^/]+)")


class DicomWeb:
    """A DICOMweb server that the user named.

        server = studies.DicomWeb("https://pacs.example/dicom-web", token=os.environ["PACS_TOKEN"])
        for study in studies.read(server.search("Modality=CT,StudyDate=20240101-")):
            model.embed_images(study)

    A search transfers no images; `read` transfers headers; an instance is transferred when one of its images is
    decoded, so that a selection of slices saves the others. Instances rather than frames are requested: a frame alone
    lacks the windows, palettes and functional groups that its display depends on.

    Args:
        url: The root of its services. Without TLS, a token is sent to this machine only.
        token: A bearer token, or a whole value of the header Authorization (``Basic ...``). It is never logged.
        timeout_s: Time of one request with its repetitions, in seconds.
        attempts: How often a request is tried that fails for a reason that may pass: status 429 and 5xx, a lost
            connection.
        wait_s: Wait before the first repetition, which doubles; a server may ask for more.
        connections: Maximum number of requests at once.
        max_bytes: Maximum size of a response.
        max_studies: Maximum number of results of a search.
        ca_file: Certificates of authorities to trust, in PEM format, instead of the public ones.

    Raises:
        InputError: ``dicomweb_url_invalid``.
        MissingExtraError: The extra ``dicomweb`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_s: float = 120,
        attempts: int = 4,
        wait_s: float = 0.5,
        connections: int = 4,
        max_bytes: int = 1 << 30,
        max_studies: int = 10_000,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._max_studies = max_studies
        self._client = Client(
            url, token=token, timeout_s=timeout_s, attempts=attempts, wait_s=wait_s, max_bytes=max_bytes,
            connections=connections, ca_file=None if ca_file is None else Path(ca_file),
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The root of the server's services, without a slash at its end."""
        return self._client.url

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def search(self, query: str | Mapping[str, str]) -> list[DicomWebStudy]:
        """Return the studies that match a query, as sources of `read`; without their images.

        Args:
            query: A text such as ``Modality=CT,StudyDate=20240101-``, or a mapping. The modality also chooses among
                the series of a study.

        Raises:
            InputError: ``dicomweb_query_invalid``.
            ImageError: The server does not answer as it should; the codes begin with ``dicomweb_``.
        """
        filters = parse_query(query) if isinstance(query, str) else dict(query)
        check_filters(filters)
        modality = filters.pop("Modality", "")
        if modality:
            filters["ModalitiesInStudy"] = modality
        return [
            DicomWebStudy(self._client, uid, modality) for uid in self._client.find_studies(filters, self._max_studies)
        ]

    def study(self, uid: str) -> DicomWebStudy:
        """Return the study with this UID, as a source of `read`; the server is asked when it is read.

        Raises:
            InputError: ``dicomweb_query_invalid``.
        """
        if not is_uid(uid):
            raise InputError(
                "expected the UID of a study, digits and dots, got another text: copy it from the PACS",
                code="dicomweb_query_invalid",
            )
        return DicomWebStudy(self._client, uid)

    def open_instance(self, url: str) -> InstanceFile:
        """Return the instance of a URL below this server, such as the path of an origin.

        Raises:
            ImageError: ``dicomweb_not_named`` for another server's URL.
        """
        match = _PATH.fullmatch(url.removeprefix(self.url))
        if not url.startswith(self.url) or match is None or not all(map(is_uid, match.groups())):
            raise not_named()
        return InstanceFile(self._client, match[1], match[2], match[3])
