"""Options for studies on a DICOMweb server as sources of a verb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.studies import DicomWebStudy

TOKEN_VARIABLE = "MI2_DICOMWEB_TOKEN"  # noqa: S105 - its name

Url = Annotated[
    str | None,
    typer.Option("--dicomweb", metavar="URL", help="A DICOMweb server, whose studies --study or --query choose."),
]
StudyUids = Annotated[
    list[str] | None, typer.Option("--study", metavar="UID", help="With --dicomweb: a study; repeatable.")
]
Query = Annotated[
    str | None,
    typer.Option(
        "--query",
        metavar="NAME=VALUE,...",
        help="With --dicomweb: studies with these values, such as Modality=CT,StudyDate=20240101-20240131.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--dicomweb-token-file",
        metavar="FILE",
        help=f"With --dicomweb: a file with its token, or a whole Authorization header. Default: {TOKEN_VARIABLE}.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--dicomweb-ca-file", metavar="FILE", help="With --dicomweb: certificates of its authority, PEM."),
]

OPTIONS: dict[str, tuple[Any, object]] = {
    "dicomweb": (Url, None),
    "study": (StudyUids, None),
    "query": (Query, None),
    "dicomweb_token_file": (TokenFile, None),
    "dicomweb_ca_file": (CaFile, None),
}
"""The options that `verbs.register` gives to a verb of files that reads studies: name to annotation and default."""


def list_dicomweb(
    *,
    dicomweb: str | None,
    study: list[str] | None,
    query: str | None,
    dicomweb_token_file: Path | None,
    dicomweb_ca_file: Path | None,
) -> list[DicomWebStudy]:
    """Return the studies that the options choose, as sources; none without ``--dicomweb``.

    Raises:
        InputError: ``dicomweb_option_unused``, ``dicomweb_query_missing``, or as `studies.DicomWeb`.
    """
    chosen = bool(study) or query is not None
    if dicomweb is None:
        if chosen or dicomweb_token_file is not None or dicomweb_ca_file is not None:
            raise InputError(
                "expected --dicomweb URL with --study, --query and its token, got none: name the server",
                code="dicomweb_option_unused",
            )
        return []
    if not chosen:
        raise InputError(
            "expected --study or --query with --dicomweb, got neither: choose studies", code="dicomweb_query_missing"
        )
    from medimageinsight.studies import DicomWeb

    server = DicomWeb(dicomweb, token=_read_token(dicomweb_token_file), ca_file=dicomweb_ca_file)
    with error_context(server.url):
        found = [server.study(uid) for uid in study or ()]
        return found if query is None else found + server.search(query)


def _read_token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    from medimageinsight.studies.dicomweb import read_token

    with error_context(file):
        return read_token(file)
