"""Search with one hit for each study, series, patient or other value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError
from medimageinsight.search.query import resolve_query
from medimageinsight.search.query_metadata import patient_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from medimageinsight.api import MedImageInsight
    from medimageinsight.images import Source, WindowLike
    from medimageinsight.search.records import Hit, Value
    from medimageinsight.search.store import Store

_FETCHED = 4  # hits for each wanted group that are fetched at a time
_MAX_FETCHED = 10_000


@dataclass(frozen=True, kw_only=True)
class HitGroup:
    """The best hit of a group.

    Attributes:
        hit: The nearest item of the group.
        value: Its value in the column; None for an item without one, which is a group of its own.
        more: The number of other items of the group that the search may find.
    """

    hit: Hit
    value: Value
    more: int

    def to_dict(self) -> dict[str, Any]:
        """Return the hit's JSON document with ``group`` and ``more``."""
        return {**self.hit.to_dict(), "group": self.value, "more": self.more}


def search_groups(
    model: MedImageInsight | None,
    store: Store,
    *,
    by: str,
    image: Source | None = None,
    text: str | None = None,
    item_id: str | None = None,
    vector: ArrayLike | None = None,
    k: int = 10,
    where: str | None = None,
    min_score: float | None = None,
    exact: bool = False,
    exclude_same: str | None = None,
    frame: int = 0,
    window: WindowLike | None = None,
) -> list[HitGroup]:
    """Find the nearest item of each of the `k` nearest studies, series, patients or values of a column, best first.

        search.search_groups(model, store, by="study", image="new.dcm", exclude_same="PatientID")

    `by` is ``study`` or ``series`` (`index_studies`), ``patient`` for the store's column of patients, or a column. The
    other arguments are those of `search`.

    Raises:
        InputError: ``column_unknown``, else as `search`.
    """
    column = group_column(store, by)
    query, without = resolve_query(
        model, store, image=image, text=text, item_id=item_id, vector=vector, exclude_same=exclude_same,
        frame=frame, window=window,
    )  # fmt: skip
    groups: dict[object, Hit] = {}
    while len(groups) < k:
        excluded = _without(without, column, groups)
        wanted = min(_MAX_FETCHED, _FETCHED * (k - len(groups)) + sum(isinstance(key, tuple) for key in groups))
        hits = store.search(query, k=wanted, where=where, min_score=min_score, exact=exact, without=excluded)
        before = len(groups)
        for hit in hits:
            value = hit.metadata.get(column)
            if len(groups) < k:
                groups.setdefault((hit.id,) if value is None else value, hit)
        if len(hits) < wanted or len(groups) == before:
            break
    return [_describe(store, hit, column, where, without) for hit in groups.values()]


def group_column(store: Store, by: str) -> str:
    """Return the column that names a group.

    Raises:
        InputError: The store has no such column (``column_unknown``).
    """
    if by == "patient" and (columns := patient_columns(store)):
        return columns[0]
    if by not in store.columns:
        hint = ": index with --level image,series,study" if by in ("study", "series") else ""
        raise InputError(
            f"expected one of the columns {', '.join(store.columns) or '(there are none)'}, or patient, got {by!r}"
            f"{hint}",
            code="column_unknown",
        )
    return by


def _without(
    without: Mapping[str, Sequence[Value]] | None, column: str, groups: Mapping[object, Hit]
) -> dict[str, Sequence[Value]]:
    """Return the values that further hits must not have: those of the query's own, and of the groups so far."""
    found: list[Any] = [value for value in groups if not isinstance(value, tuple)]
    own = dict(without or {})
    return own | ({column: [*own.get(column, ()), *found]} if found else {})


def _describe(
    store: Store, hit: Hit, column: str, where: str | None, without: Mapping[str, Sequence[Value]] | None
) -> HitGroup:
    value = hit.metadata.get(column)
    if value is None:
        return HitGroup(hit=hit, value=None, more=0)
    count = store.count(where=where, within={column: [value]}, without=without)
    return HitGroup(hit=hit, value=value, more=max(0, count - 1))
