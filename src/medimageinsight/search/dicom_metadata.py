"""Metadata of DICOM files: a short list of elements that describe the image and do not identify the patient."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits, is_dataset, read_source
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

if TYPE_CHECKING:
    import os

    from pydicom.dataset import Dataset

    from medimageinsight.search.records import ColumnType, Value

PatientIdentity: TypeAlias = Literal["none", "hashed", "plain"]

# Text columns, each with the elements it is read from: the first with a value. No dates: those of a patient's visits
# are protected like the name.
TEXT_COLUMNS: dict[str, tuple[str, ...]] = {
    "Modality": ("Modality",),
    "BodyPartExamined": ("BodyPartExamined",),
    "ViewPosition": ("ViewPosition",),
    "Laterality": ("ImageLaterality", "Laterality"),  # of the image, else of its series
    "PatientSex": ("PatientSex",),
    "Manufacturer": ("Manufacturer",),
}

_MAX_LENGTH = 64  # characters of the value representations LO and CS (PS3.5 6.2)
_AGE = re.compile(r"([0-9]{3})([DWMY])")  # value representation AS (PS3.5 6.2)
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_HASH_DIGITS = 32


def read_dicom_metadata(
    source: str | os.PathLike[str] | bytes | Dataset,
    *,
    patient: PatientIdentity = "none",
    salt: bytes = b"",
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> dict[str, Value]:
    """Read the metadata columns of a DICOM file or dataset; return none for other and unreadable files.

    The age is in years; text is stripped.

    `patient` is whether to leave ``PatientID`` out, return it as a keyed hash that distinguishes patients, or as it is.
    `salt` is the key of the hash, as ``bytes.fromhex(store.identity.salt)``: a patient has the same hash only under the
    same salt.

    Raises:
        InputError: ``patient_id_unknown``, or ``salt_missing`` for a hash without a salt, which could be looked up.
    """
    check_patient_identity(patient)
    if patient == "hashed" and not salt:
        raise InputError("expected a salt for hashed patient ids, got none: give the store's", code="salt_missing")
    with suppress_decoder_warnings():  # pydicom quotes values in its warnings
        dataset = _read_dataset(source, limits)
        return {} if dataset is None else _extract_columns(dataset, patient, salt)


def read_study_uid(source: str | os.PathLike[str] | bytes | Dataset) -> str:
    """Return the StudyInstanceUID of a DICOM file or dataset; empty for other and unreadable files."""
    with suppress_decoder_warnings():
        dataset = _read_dataset(source, Limits())
        return "" if dataset is None else _text(dataset, "StudyInstanceUID")


def _read_dataset(source: str | os.PathLike[str] | bytes | Dataset, limits: Limits) -> Dataset | None:
    from medimageinsight.images import dicom

    if is_dataset(source):
        return source
    try:
        data = read_source(source, limits)
        return dicom.read(data, limits) if dicom.is_dicom(data) else None
    except ImageError:
        return None


def dicom_column_types(patient: PatientIdentity) -> dict[str, ColumnType]:
    """Return the types of the columns that `read_dicom_metadata` may return."""
    texts: dict[str, ColumnType] = dict.fromkeys(
        [*TEXT_COLUMNS, *(["PatientID"] if patient != "none" else [])], "string"
    )
    return {**texts, "PatientAge": "float"}


def _extract_columns(dataset: Dataset, patient: PatientIdentity, salt: bytes) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for column, keywords in TEXT_COLUMNS.items():
        texts = filter(None, (_text(dataset, keyword) for keyword in keywords))
        if text := next(texts, ""):
            columns[column] = text
    if age := _AGE.fullmatch(_text(dataset, "PatientAge")):
        columns["PatientAge"] = round(int(age[1]) / _PER_YEAR[age[2]], 2)
    if patient != "none" and (identity := _text(dataset, "PatientID")):
        if patient == "hashed":
            identity = hash_identifier(identity, salt)
        columns["PatientID"] = identity
    return columns


def hash_identifier(identifier: str, salt: bytes) -> str:
    """Return a keyed hash of a patient's, study's or series' identifier, which distinguishes them within a store."""
    return hmac.new(salt, identifier.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:_HASH_DIGITS]


def check_patient_identity(choice: str) -> None:
    """Refuse a value that is not a `PatientIdentity`.

    Raises:
        InputError: ``patient_id_unknown``.
    """
    if choice not in ("none", "hashed", "plain"):
        raise InputError(
            f"expected the patient id to be none, hashed or plain, got {choice!r}: choose one of them",
            code="patient_id_unknown",
        )


def _text(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an element, empty if it is missing, malformed or cannot be stored."""
    try:
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, str):
            value = next(iter(value), "")
        text = str(value or "").strip()[:_MAX_LENGTH]
        text.encode()
    except Exception:  # pydicom converts on access and raises any error for a malformed value
        return ""
    return text.replace("\0", "")
