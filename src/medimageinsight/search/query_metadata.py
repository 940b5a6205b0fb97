"""Values of a query image in a store's column, so that images of the same patient can be left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.files.columns import find_column
from medimageinsight.search.dicom_metadata import read_dicom_metadata
from medimageinsight.search.indexing import resolve_ids

if TYPE_CHECKING:
    from medimageinsight.images import Source
    from medimageinsight.search.records import ColumnType, Value
    from medimageinsight.search.store import Store


def find_own_values(store: Store, source: Source, column: str) -> list[Value]:
    """Return the values that a store has, or would have, for an image in a column.

    They are those of the image itself, if it is stored, and of its DICOM elements: a patient's id as it is and hashed
    with the store's salt. A column ``patient_id`` is one of patients too.

    Raises:
        InputError: ``column_unknown``; ``column_empty`` where the image has no value.
    """
    kind = store.columns.get(column)
    if kind is None:
        raise InputError(
            f"expected one of the columns {', '.join(store.columns) or '(there are none)'}, got {column!r}",
            code="column_unknown",
        )
    found: list[Value] = []
    if isinstance(source, str | os.PathLike) and Path(source).is_file():
        ids = store.existing(resolve_ids(store, [os.fspath(source)]))
        found += [item.metadata.get(column) for item in store.get(sorted(ids))]
    salt = bytes.fromhex(store.identity.salt)
    for patient in ("plain", "hashed"):
        elements = read_dicom_metadata(source, patient=patient, salt=salt)  # type: ignore[arg-type]  # any source
        name = find_column(elements, column)
        found.append(None if name is None else elements[name])
    if not any(value is not None for value in found):
        raise InputError(
            f"expected the image to have a value for {column}, stored or in its DICOM header, got none: "
            f"index the image, or exclude its value with a filter, as {column} != '...'",
            code="column_empty",
        )
    values = [_as_stored(value, kind) for value in found if value is not None]
    return list(dict.fromkeys(value for value in values if value is not None))


def _as_stored(value: Value, kind: ColumnType) -> Value:
    """Return a value as a column of this type holds it, None where it cannot."""
    if kind == "string" or not isinstance(value, str):
        return value
    try:
        return int(value) if kind == "integer" else float(value) if kind == "float" else None
    except ValueError:
        return None
