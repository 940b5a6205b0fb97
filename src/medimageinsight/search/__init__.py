"""Stores of vectors: search by image, by text and by example, with filters on metadata.

    from medimageinsight import MedImageInsight, search

    model = MedImageInsight.load()
    with search.open_or_create_store("chest", identity=search.Identity.of(model)) as store:
        search.index_images(model, store, paths)
        search.search(model, store, text="x-ray chest pneumonia", k=5)

One protocol, `Store`, and two implementations: `lance_store`, a folder (LanceDB, the extra ``search``), and
`postgres_store`, a PostgreSQL database with pgvector (the extra ``postgres``).
"""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.search.classify import StoreClassification, StoreNeighbour, classify, classify_vector
from medimageinsight.search.copies import make_copies, measure_copy_cosine
from medimageinsight.search.dicom_metadata import (
    PatientIdentity,
    check_patient_identity,
    dicom_column_types,
    read_dicom_metadata,
)
from medimageinsight.search.duplicate_clusters import Crossing, DuplicateImage, Duplicates, find_duplicate_clusters
from medimageinsight.search.duplicates import find_duplicates
from medimageinsight.search.grouping import HitGroup, search_groups
from medimageinsight.search.identity import Identity
from medimageinsight.search.indexing import (
    Existing,
    MetadataSource,
    index_images,
    label_by_folder,
    make_ids,
    merge_types,
    resolve_ids,
)
from medimageinsight.search.item_writer import IndexReport
from medimageinsight.search.metadata_table import MetadataTable, read_metadata
from medimageinsight.search.planned_store import PlannedStore
from medimageinsight.search.projection import Projection
from medimageinsight.search.query import read_vector, search
from medimageinsight.search.query_metadata import find_own_patient, find_own_values, patient_columns
from medimageinsight.search.recall import measure_recall
from medimageinsight.search.records import ColumnType, Hit, IndexInfo, Item, Pair, Recall, StoreInfo, Value
from medimageinsight.search.store import Store
from medimageinsight.search.store_locations import (
    create_store,
    open_or_create_store,
    open_store,
    parse_named_location,
    redact_location,
)
from medimageinsight.search.stored_files import stored_source
from medimageinsight.search.stored_images import find_image
from medimageinsight.search.study_indexing import index_studies
from medimageinsight.search.sync import SyncReport, find_missing, items_below, prune, sync, sync_studies

__all__ = [
    "ColumnType",
    "Crossing",
    "DuplicateImage",
    "Duplicates",
    "Existing",
    "Hit",
    "HitGroup",
    "Identity",
    "IndexInfo",
    "IndexReport",
    "Item",
    "MetadataSource",
    "MetadataTable",
    "Pair",
    "PatientIdentity",
    "PlannedStore",
    "Projection",
    "Recall",
    "Store",
    "StoreClassification",
    "StoreInfo",
    "StoreNeighbour",
    "SyncReport",
    "Value",
    "check_patient_identity",
    "classify",
    "classify_vector",
    "create_store",
    "dicom_column_types",
    "find_duplicate_clusters",
    "find_duplicates",
    "find_image",
    "find_missing",
    "find_own_patient",
    "find_own_values",
    "index_images",
    "index_studies",
    "items_below",
    "label_by_folder",
    "make_copies",
    "make_ids",
    "measure_copy_cosine",
    "measure_recall",
    "merge_types",
    "open_or_create_store",
    "open_store",
    "parse_named_location",
    "patient_columns",
    "prune",
    "read_dicom_metadata",
    "read_metadata",
    "read_vector",
    "redact_location",
    "resolve_ids",
    "search",
    "search_groups",
    "stored_source",
    "sync",
    "sync_studies",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
