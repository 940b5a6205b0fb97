"""Items of a store at the level of images, series and studies: which of them are compared with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.search.columns import OWN_COLUMNS
from medimageinsight.search.filter_parser import parse_filter
from medimageinsight.search.filters import And, Not, Or
from medimageinsight.search.records import LEVEL_COLUMN, STUDY_COLUMNS

if TYPE_CHECKING:
    from medimageinsight.search.filters import Filter
    from medimageinsight.search.store import Store

_IMAGES = f"({LEVEL_COLUMN} is null or {LEVEL_COLUMN} = 'image')"


def one_level(store: Store, where: str | None) -> str | None:
    """Return a filter for items of one level: images, else series, else studies.

    A pooled vector is no copy of its own images, and would count twice in a map. A filter that names the level, and one
    of a store without levels, is returned unchanged.

    Raises:
        InputError: ``filter_invalid``.
    """
    columns = store.columns
    if not STUDY_COLUMNS.keys() - {"parts", "selection", "pooling", "origin"} <= columns.keys():
        return where
    if where is not None and _names_level(parse_filter(where, {**OWN_COLUMNS, **columns})):
        return where
    for level in (_IMAGES, f"{LEVEL_COLUMN} = 'series'"):
        chosen = level if where is None else f"({where}) and {level}"
        if store.count(where=chosen):
            return chosen
    return where


def _names_level(condition: Filter) -> bool:
    match condition:
        case And(parts) | Or(parts):
            return any(map(_names_level, parts))
        case Not(part):
            return _names_level(part)
        case _:
            return condition.column == LEVEL_COLUMN
