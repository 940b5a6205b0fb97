"""Values of a query image in a store's column, so that images of the same patient can be left out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.files.columns import find_column
from medimageinsight.files.paths import canonical_path
from medimageinsight.images import DeferredImage, ImageGroup
from medimageinsight.search.dicom_metadata import hash_identifier, read_dicom_metadata, read_study_uid
from medimageinsight.search.indexing import resolve_ids
from medimageinsight.search.records import STUDY_COLUMN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.images import HeaderSource, Source
    from medimageinsight.search.records import ColumnType, Item, Value
    from medimageinsight.search.store import Store


def find_own_values(store: Store, source: Source, column: str) -> list[Value]:
    """Return the values that a store has, or would have, for an image in a column.

    They are those of the image itself, if it is stored, and of its DICOM elements: a patient's id as it is and hashed
    with the store's salt. A column ``patient_id`` is one of patients too.

    Raises:
        InputError: ``column_unknown``; ``column_empty`` where the image has no value.
    """
    if column not in store.columns:
        raise InputError(
            f"expected one of the columns {', '.join(store.columns) or '(there are none)'}, got {column!r}",
            code="column_unknown",
        )
    found = _read_own(store, _stored_items(store, source), source, [column])
    if column not in found:
        raise InputError(
            f"expected the image to have a value for {column}, stored or in its DICOM header, got none: "
            f"index the image, or exclude its value with a filter, as {column} != '...'",
            code="column_empty",
        )
    return found[column]


def patient_columns(store: Store) -> list[str]:
    """Return the store's columns of patient ids: ``PatientID``, ``patient_id`` and other spellings."""
    return [name for name in store.columns if find_column([name], "PatientID") is not None]


def find_own_patient(store: Store, source: Source) -> dict[str, list[Value]]:
    """Return by column what the store's images of a query's own patient have, as `find_own_values` finds it.

    The columns are `patient_columns`, without those where the image has no value, ``id``, if it is stored, and
    ``study``, if the store has series and studies.
    """
    items = _stored_items(store, source)
    own: dict[str, list[Value]] = {"id": [item.id for item in items]} if items else {}
    if STUDY_COLUMN in store.columns and (keys := _study_keys(store, source)):
        own[STUDY_COLUMN] = keys
    columns = patient_columns(store)
    return own | (_read_own(store, items, source, columns) if columns else {})


def _study_keys(store: Store, source: Source) -> list[Value]:
    """Return the keys that the store has, or would have, for the study of an image: of its UID, and of its file."""
    header = header_source(source)
    if header is None:
        return []
    salt = bytes.fromhex(store.identity.salt)
    names = [read_study_uid(header)]  # type: ignore[arg-type]  # any source
    with suppress(OSError, ValueError):  # a data: URI is too long for a path
        if isinstance(header, str | os.PathLike) and Path(header).is_file():
            names.append(canonical_path(header))
    return [hash_identifier(name, salt) for name in names if name]


def header_source(source: Source | HeaderSource | None) -> Source | HeaderSource | None:
    """Return what has the DICOM header of a source, or may have one."""
    return source.header_source() if isinstance(source, DeferredImage | ImageGroup) else source


def _stored_items(store: Store, source: Source) -> list[Item]:
    """Return the stored image of a query that is a path, if there is one."""
    path = header_source(source)
    try:
        if not isinstance(path, str | os.PathLike) or not Path(path).is_file():
            return []
    except (OSError, ValueError):  # a data: URI is too long for a path
        return []
    return store.get(sorted(store.existing(resolve_ids(store, [os.fspath(path)]))))


def _read_own(store: Store, items: Sequence[Item], source: Source, columns: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values of each column that has some, of the stored image and of its DICOM elements."""
    found: dict[str, list[Value]] = {column: [item.metadata.get(column) for item in items] for column in columns}
    salt = bytes.fromhex(store.identity.salt)
    header = header_source(source)
    for patient in ("plain", "hashed") if header is not None else ():
        elements = read_dicom_metadata(header, patient=patient, salt=salt)  # type: ignore[arg-type]  # any source
        for column in columns:
            if (name := find_column(elements, column)) is not None:
                found[column].append(elements[name])
    own: dict[str, list[Value]] = {}
    for column, values in found.items():
        stored = [_as_stored(value, store.columns[column]) for value in values if value is not None]
        distinct: list[Value] = list(dict.fromkeys(value for value in stored if value is not None))
        if distinct:
            own[column] = distinct
    return own


def _as_stored(value: Value, kind: ColumnType) -> Value:
    """Return a value as a column of this type holds it, None where it cannot."""
    if kind == "string" or not isinstance(value, str):
        return value
    try:
        return int(value) if kind == "integer" else float(value) if kind == "float" else None
    except ValueError:
        return None
