"""Groups of stored images that are copies of one image, with the image to keep of each.

Candidates are pairs whose embeddings are at least as similar as those of an image and its altered copy (`copies`).
Pixels confirm them (`image_match`): small models give many different images nearly the same embedding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.copies import measure_copy_cosine
from medimageinsight.search.duplicates import find_duplicates
from medimageinsight.search.identity import Identity
from medimageinsight.search.image_match import MIN_CORRELATION, correlate
from medimageinsight.search.levels import one_level
from medimageinsight.search.stored_files import reduce_stored, sample_stored, stored_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search.image_match import SmallImage
    from medimageinsight.search.records import Item, Pair, Value
    from medimageinsight.search.store import Store

MAX_CANDIDATES = 200_000  # pairs in memory

ThresholdSource: TypeAlias = Literal["given", "measured", "statistics"]


@dataclass(frozen=True, kw_only=True)
class DuplicateImage:
    """A stored image of a cluster; width and height are in pixels, None where its file was not read."""

    id: str
    path: str
    keep: bool  # whether it is the image of its cluster to keep
    score: float  # the largest cosine similarity with another image of the cluster
    width: int | None
    height: int | None
    value: Value  # in the column of `between`


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Numbers of clusters and pairs that have two values of a metadata column, such as train and test."""

    values: tuple[str, str]
    clusters: int
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Copies among the images of a store.

    Attributes:
        threshold: The smallest cosine similarity of a pair.
        threshold_source: ``given`` by the caller, from the model's validation ``statistics``, or ``measured`` on
            altered copies of stored images.
        candidates: Number of pairs that reach the threshold.
        candidates_truncated: There were more than `MAX_CANDIDATES`; the most similar were compared.
        rejected: Number of candidates whose pixels differ: those that the embedding alone would have had wrong.
        unread: Number of candidates whose pixels were not compared, because a file of theirs cannot be read.
        pairs: The pairs of copies, most similar first.
        clusters: Connected pairs; the image to keep is the first of each.
        crossings: With a column, the numbers for each two values.
    """

    threshold: float
    threshold_source: ThresholdSource
    candidates: int
    candidates_truncated: bool
    rejected: int
    unread: int
    pairs: tuple[Pair, ...]
    clusters: tuple[tuple[DuplicateImage, ...], ...]
    crossings: tuple[Crossing, ...]


def find_duplicate_clusters(
    store: Store,
    *,
    threshold: float | None = None,
    model: MedImageInsight | None = None,
    pixels: bool = True,
    between: str | None = None,
    keep: str | None = None,
    where: str | None = None,
    approximate: bool = False,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Duplicates:
    """Find the stored images that are copies of one image: re-encoded, resized or slightly cropped.

        found = search.find_duplicate_clusters(store, model=model, between="split")

    Args:
        store: A store; the files of its images are read where they can be.
        threshold: The smallest cosine similarity, above 0; by default that of the model's validation statistics, else
            measured with `model` on altered copies of some of the stored images. With a given one, pairs whose files
            cannot be read count without their pixels.
        model: The store's model, needed without `threshold` only.
        pixels: Confirm the pairs by their pixels.
        between: A metadata column: only clusters with several values of it are returned.
        keep: The value of `between` whose images are kept before others. Of these, the image with the most pixels is
            kept, of equal ones that with the smallest id.
        where: A filter that all images must match.
        approximate: As in `find_duplicates`.
        frame: Index of the frame that was indexed of multi-frame files.
        progress: Called with the number of images whose files were read.

    Raises:
        InputError: ``threshold_invalid``, ``filter_invalid``, ``column_unknown``, ``keep_invalid``,
            ``store_other_model``, ``duplicates_uncalibrated``: no threshold, and no model or no file to measure it.
    """
    _check_column(store, between, keep)
    where = one_level(store, where)
    source: ThresholdSource = "given"
    minimum = threshold
    if minimum is None:
        minimum, source = _measure_threshold(store, model, where, frame)
    found = find_duplicates(store, minimum, where=where, limit=MAX_CANDIDATES, approximate=approximate)
    items = stored_items(store, {item_id for pair in found for item_id in (pair.a, pair.b)})
    small = reduce_stored(store, items, frame=frame, progress=progress) if pixels else {}
    read = [pair for pair in found if pair.a in small and pair.b in small]
    correlations = correlate([(small[pair.a], small[pair.b]) for pair in read])
    different = {pair for pair, score in zip(read, correlations, strict=True) if score < MIN_CORRELATION}
    unread = set(found) - set(read) if pixels else set()
    left_out = different | (unread if threshold is None else set())
    pairs = [pair for pair in found if pair not in left_out]
    if between is not None:
        pairs = _keep_crossing(pairs, items, between)
    scores: dict[str, float] = {}
    for pair in reversed(pairs):  # the best pair of each image last
        scores[pair.a] = scores[pair.b] = pair.score
    return Duplicates(
        threshold=minimum,
        threshold_source=source,
        candidates=len(found),
        candidates_truncated=len(found) == MAX_CANDIDATES,
        rejected=len(different),
        unread=len(unread),
        pairs=tuple(pairs),
        clusters=tuple(_describe(group, scores, items, small, (between, keep)) for group in _connect(pairs)),
        crossings=() if between is None else _count_crossings(pairs, items, between),
    )


def _check_column(store: Store, between: str | None, keep: str | None) -> None:
    if between is not None and between not in store.columns:
        raise InputError(
            f"expected one of the columns {', '.join(store.columns) or '(there are none)'}, got {between!r}",
            code="column_unknown",
        )
    if keep is not None and between is None:
        raise InputError(
            "expected a column with the value whose images are kept, got the value alone: give both",
            code="keep_invalid",
        )


def _measure_threshold(
    store: Store, model: MedImageInsight | None, where: str | None, frame: int
) -> tuple[float, ThresholdSource]:
    """Return the cosine of altered copies: that of the model's statistics, else measured on stored images."""
    if model is None:
        raise InputError(
            "expected a threshold, or the store's model to measure it with, got neither: give one",
            code="duplicates_uncalibrated",
        )
    identity = Identity.of(model)
    store.identity.check_model(identity)
    store.identity.check_preprocessing(identity)
    if store.count(where=where) < 2:  # no pairs
        return 1.0, "measured"
    statistics = model.statistics_for(store.identity.settings())
    if statistics is not None and statistics.copy_cosine is not None:
        return statistics.copy_cosine, "statistics"
    cosine = measure_copy_cosine(model, sample_stored(store, where=where, frame=frame))
    return max(cosine, float(np.finfo(float).tiny)), "measured"


def _connect(pairs: Iterable[Pair]) -> list[list[str]]:
    """Return the connected components of pairs, the ids of each sorted, in the order of their best pairs."""
    parent: dict[str, str] = {}

    def find(item_id: str) -> str:
        root = item_id
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while parent[item_id] != root:
            parent[item_id], item_id = root, parent[item_id]
        return root

    for pair in pairs:
        parent[find(pair.a)] = find(pair.b)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for item_id in parent:
        groups[find(item_id)].append(item_id)
    return [sorted(group) for group in groups.values()]


def _values(group: Iterable[str], items: Mapping[str, Item], column: str) -> list[str]:
    """Return the different values of a group in a column, sorted; a missing value is none."""
    values = (items[item_id].metadata.get(column) for item_id in group)
    return sorted({str(value) for value in values if value is not None})


def _keep_crossing(pairs: Sequence[Pair], items: Mapping[str, Item], column: str) -> list[Pair]:
    """Return the pairs of the groups with several values in a column."""
    groups = (group for group in _connect(pairs) if len(_values(group, items, column)) > 1)
    ids = {item_id for group in groups for item_id in group}
    return [pair for pair in pairs if pair.a in ids]


def _count_crossings(pairs: Sequence[Pair], items: Mapping[str, Item], column: str) -> tuple[Crossing, ...]:
    clusters = Counter(two for group in _connect(pairs) for two in combinations(_values(group, items, column), 2))
    crossing = Counter(two for pair in pairs for two in combinations(_values((pair.a, pair.b), items, column), 2))
    return tuple(Crossing(values=two, clusters=clusters[two], pairs=crossing[two]) for two in sorted(clusters))


def _describe(
    group: Sequence[str],
    scores: Mapping[str, float],
    items: Mapping[str, Item],
    small: Mapping[str, SmallImage],
    choice: tuple[str | None, str | None],
) -> tuple[DuplicateImage, ...]:
    """Return the images of a group, that to keep first; `choice` is the column and the value to keep."""
    column, kept_value = choice
    images = []
    for item_id in group:
        item, size = items[item_id], small.get(item_id)
        value = None if column is None else item.metadata.get(column)
        order = (value is None or str(value) != kept_value, -size.width * size.height if size else 0, item_id)
        images.append((order, item, size, value))
    images.sort(key=lambda image: image[0])
    return tuple(
        DuplicateImage(
            id=item.id,
            path=item.path,
            keep=index == 0,
            score=scores[item.id],
            width=size.width if size else None,
            height=size.height if size else None,
            value=value,
        )
        for index, (_, item, size, value) in enumerate(images)
    )
