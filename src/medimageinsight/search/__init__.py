"""Stores of vectors: search by image, by text and by example, with filters on metadata.

    from medimageinsight import MedImageInsight, search

    model = MedImageInsight.load()
    with search.open_or_create_store("chest", identity=search.Identity.of(model)) as store:
        search.index_images(model, store, paths)
        search.search(model, store, text="x-ray chest pneumonia", k=5)

One class, `Store`, and two kinds of it: a folder (LanceDB, the extra ``search``) and a PostgreSQL database with
pgvector (the extra ``postgres``).
"""

from __future__ import annotations

from medimageinsight.search.classify import StoreAnswer, StoreNeighbour, classify, classify_vector
from medimageinsight.search.dicom_metadata import read_tags
from medimageinsight.search.identity import Identity
from medimageinsight.search.images import find_image
from medimageinsight.search.indexing import IndexReport, index_images, make_ids
from medimageinsight.search.metadata import MetadataTable, read_metadata
from medimageinsight.search.opening import (
    create_store,
    named_location,
    open_or_create_store,
    open_store,
    shown_location,
)
from medimageinsight.search.projection import Projection
from medimageinsight.search.query import search
from medimageinsight.search.store import Store
from medimageinsight.search.values import Hit, IndexInfo, Item, Pair, Recall, StoreInfo

__all__ = [
    "Hit",
    "Identity",
    "IndexInfo",
    "IndexReport",
    "Item",
    "MetadataTable",
    "Pair",
    "Projection",
    "Recall",
    "Store",
    "StoreAnswer",
    "StoreInfo",
    "StoreNeighbour",
    "classify",
    "classify_vector",
    "create_store",
    "find_image",
    "index_images",
    "make_ids",
    "named_location",
    "open_or_create_store",
    "open_store",
    "read_metadata",
    "read_tags",
    "search",
    "shown_location",
]
