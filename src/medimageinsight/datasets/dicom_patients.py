"""Patients of DICOM files, as ids that mean nothing outside this process."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.datasets.sample import DICOM_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medimageinsight.datasets.sample import Sample

_SALT = secrets.token_bytes(16)  # of this process only: the hashes cannot be looked up, nor compared later
# Written by anonymisers instead of an id: the same for every patient.
_PLACEHOLDERS = {"", "0", "anon", "anonymous", "anonymized", "anonymised", "none", "null", "removed", "unknown"}


def read_patient(path: Path) -> str:
    """Return an id of the patient of a DICOM file, a salted hash of PatientID; '' if there is none, or no DICOM file.

    Of a folder it is that of its first file with one.

    Ids are unique within IssuerOfPatientID (PS3.3 C.7.1.1).
    """
    from pydicom import dcmread

    if path.is_dir():
        below = (file for file in sorted(path.rglob("*")) if file.is_file())
        return next((patient for file in below if (patient := read_patient(file))), "")
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "IssuerOfPatientID"])
        patient, issuer = (str(dataset.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID"))
    except Exception:  # no DICOM file, or a damaged one, for which pydicom raises anything
        return ""
    if patient.lower() in _PLACEHOLDERS:
        return ""
    digest = hashlib.blake2b(f"{issuer}\0{patient}".encode(), key=_SALT, digest_size=16)
    return DICOM_PREFIX + digest.hexdigest()


def with_dicom_patients(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Return samples with the patient of their DICOM file, where the table has none."""
    return tuple(
        replace(sample, patient_id=read_patient(sample.path))
        if not sample.patient_id and sample.byte_range is None
        else sample
        for sample in samples
    )
