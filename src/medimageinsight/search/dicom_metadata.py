"""Metadata of DICOM files: a short list of elements that say what an image shows, and not of whom."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits, read_source
from medimageinsight.images.quiet import quiet

if TYPE_CHECKING:
    import os

    from pydicom.dataset import Dataset

    from medimageinsight.search.values import Value

PatientIdentity: TypeAlias = Literal["none", "hashed", "plain"]

# Columns of text, each with the elements it is read from, the first that has a value. No dates: those of a patient's
# visits are protected as the name is.
TEXT_TAGS: dict[str, tuple[str, ...]] = {
    "Modality": ("Modality",),
    "BodyPartExamined": ("BodyPartExamined",),
    "ViewPosition": ("ViewPosition",),
    "Laterality": ("ImageLaterality", "Laterality"),  # of the image, else of its series
    "PatientSex": ("PatientSex",),
    "Manufacturer": ("Manufacturer",),
}
AGE = "PatientAge"
PATIENT = "PatientID"
COLUMNS = (*TEXT_TAGS, AGE, PATIENT)

_LONGEST = 64  # characters of the value representations LO and CS (PS3.5 6.2)
_AGE = re.compile(r"([0-9]{3})([DWMY])")  # value representation AS (PS3.5 6.2)
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_HASH_DIGITS = 32


def read_tags(
    source: str | os.PathLike[str],
    *,
    patient: PatientIdentity = "none",
    salt: bytes = b"",
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> dict[str, Value]:
    """The columns of a DICOM file, empty for a file of another kind or one that cannot be read.

    The age is in years; text is as in the file, without spaces at its ends.

    Args:
        source: The file.
        patient: Whether ``PatientID`` is left out, kept as a hash that tells patients apart, or kept as it is.
        salt: What the hash is keyed with, as ``bytes.fromhex(store.identity.salt)``: the same patient has the same hash
            only under the same salt.
        limits: What a file may not exceed.

    Raises:
        InputError: ``patient_id_unknown`` for another choice, ``salt_missing`` for a hash without a salt, which anyone
            could look up.
    """
    check_patient(patient)
    if patient == "hashed" and not salt:
        raise InputError("expected a salt for hashed patient ids, got none: give the store's", code="salt_missing")
    from medimageinsight.images import dicom

    with quiet():  # pydicom quotes the values that it warns of
        try:
            data = read_source(source, limits)
            dataset = dicom.read(data, limits) if dicom.is_dicom(data) else None
        except ImageError:
            return {}
        return {} if dataset is None else tags_of(dataset, patient=patient, salt=salt)


def tags_of(dataset: Dataset, *, patient: PatientIdentity = "none", salt: bytes = b"") -> dict[str, Value]:
    """The columns of a dataset, see `read_tags`."""
    found: dict[str, Value] = {}
    for column, keywords in TEXT_TAGS.items():
        texts = filter(None, (_text(dataset, keyword) for keyword in keywords))
        if text := next(texts, ""):
            found[column] = text
    if (age := _years(_text(dataset, AGE))) is not None:
        found[AGE] = age
    if patient != "none" and (identity := _text(dataset, PATIENT)):
        found[PATIENT] = identity if patient == "plain" else _hash(identity, salt)
    return found


def check_patient(choice: str) -> None:
    """Refuse a choice that is none of `PatientIdentity`.

    Raises:
        InputError: ``patient_id_unknown``.
    """
    if choice not in ("none", "hashed", "plain"):
        raise InputError(
            f"expected the patient id to be none, hashed or plain, got {choice!r}: choose one of them",
            code="patient_id_unknown",
        )


def _text(dataset: Dataset, keyword: str) -> str:
    """The first value of an element, empty where it is missing, malformed or cannot be stored."""
    try:
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, str):
            value = next(iter(value), "")
        text = str(value or "").strip()[:_LONGEST]
        text.encode()
    except Exception:  # pydicom converts on access and raises whatever the malformed value provokes
        return ""
    return text.replace("\0", "")


def _years(age: str) -> float | None:
    match = _AGE.fullmatch(age)
    return None if match is None else round(int(match[1]) / _PER_YEAR[match[2]], 2)


def _hash(identity: str, salt: bytes) -> str:
    return hmac.new(salt, identity.encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]
