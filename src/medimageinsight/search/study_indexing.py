"""Indexing of studies: the vectors of their images, series and of themselves, each image embedded once."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from medimageinsight.embedder import BATCH_SIZE
from medimageinsight.errors import InputError
from medimageinsight.search.columns import find_new_columns, widen_types
from medimageinsight.search.identity import Identity
from medimageinsight.search.indexing import MetadataSource, merge_types
from medimageinsight.search.item_writer import IndexReport, ItemWriter
from medimageinsight.search.records import STUDY_COLUMNS
from medimageinsight.search.rows import check_new
from medimageinsight.search.study_items import StudyItems, describe_columns
from medimageinsight.studies import StudyImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.embedded import EmbeddedSource
    from medimageinsight.images import HeaderSource
    from medimageinsight.search.planned_store import PlannedStore
    from medimageinsight.search.records import ColumnType, Item, Value
    from medimageinsight.search.store import Store
    from medimageinsight.studies import Origin, Series, Study

Level: TypeAlias = Literal["image", "series", "study"]
ExistingStudies: TypeAlias = Literal["refuse", "skip", "update", "changed"]


def index_studies(
    model: MedImageInsight,
    store: Store | PlannedStore,
    studies: Iterable[Study],
    *,
    levels: Sequence[Level] = ("image", "series", "study"),
    metadata: Sequence[MetadataSource] = (),
    read_header: Callable[[HeaderSource], Mapping[str, Value]] | None = None,
    types: Mapping[str, ColumnType] | None = None,
    existing: ExistingStudies = "refuse",
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
    stored: Callable[[Sequence[str]], None] | None = None,
    found: Callable[[Sequence[str]], None] | None = None,
) -> IndexReport:
    """Embed studies with the store's model and add items for their selected images, their series and themselves.

        search.index_studies(model, store, studies.read("archive/"), levels=("series", "study"))

    The items of a study have its key in the column ``study``, those of a series its key in ``series``: hashes with the
    store's salt, from which no DICOM UID can be read. The column ``level`` is ``image``, ``series`` or ``study``,
    ``origin`` the location within the file ``path`` (`Item.origin`), and a pooled vector has the number of its images
    (``parts``), their selection and the pooling. It shows the image most like it.

    Studies are read, embedded and written one after the other. `metadata` are functions from an image's path to
    metadata, as in `index_images`; a series or study has the values that all its images share. `read_header` is a
    function from a DICOM header, such as `read_dicom_metadata` with the store's salt. `types` are the types of their
    columns. For `existing`, see `index_images`; with ``changed`` an item is replaced if its files have another size or
    time, and keeps metadata that the call does not have. `progress` is called with the number of images done, `stored`
    with the ids of each transaction, and `found` with the ids of each study.

    Raises:
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``ids_duplicate`` (the items of earlier
            studies are stored), ``pooling_not_comparable``, else as `Store.add`.
        StoreError: ``store_not_writable``; what `stored` was called with is in the store.
        ModelError: The encoder cannot be loaded or run.
    """
    if existing not in get_args(ExistingStudies):
        raise InputError(
            f"expected existing to be {', '.join(get_args(ExistingStudies))}, got {existing!r}", code="existing_invalid"
        )
    identity = Identity.of(model)
    store.identity.check_model(identity)
    store.identity.check_preprocessing(identity)
    types = merge_types(types or {}, STUDY_COLUMNS)
    find_new_columns(widen_types(store.columns, types), types)
    writer = ItemWriter(store, IndexReport(), set(), stored, types)
    indexing = _Indexing(
        store=store, writer=writer, levels=tuple(levels), existing=existing, metadata=metadata,
        read_header=read_header, found=found,
    )  # fmt: skip
    done = 0
    settings = store.identity.settings()
    with closing(model.stream_images(indexing.plan(studies), batch_size=batch_size, preprocessing=settings)) as stream:
        for result in stream:
            done += indexing.take(result)
            if progress is not None:
                progress(done)
    indexing.finish()
    writer.close()
    return writer.report


@dataclass(kw_only=True)
class _Planned:
    """A study whose series are being embedded."""

    items: StudyItems
    wanted: set[str]  # ids of the items to write
    left: int  # series that are not embedded yet
    origins: list[Origin] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)


@dataclass(kw_only=True)
class _Indexing:
    """What is being embedded, and how its items are written."""

    store: Store | PlannedStore
    writer: ItemWriter
    levels: tuple[Level, ...]
    existing: ExistingStudies
    metadata: Sequence[MetadataSource]
    read_header: Callable[[HeaderSource], Mapping[str, Value]] | None
    found: Callable[[Sequence[str]], None] | None
    queue: deque[tuple[_Planned, Series]] = field(default_factory=deque)
    earlier: dict[str, Mapping[str, Value]] = field(default_factory=dict)  # metadata of items that are replaced

    def plan(self, studies: Iterable[Study]) -> Iterator[Series]:
        """Yield the series to embed, and remember them in their order."""
        for study in studies:
            self.writer.report.failed.update(study.failed)
            if study.pooling == "statistics":
                raise InputError(
                    "expected a pooling whose vectors can be compared with those of images, got statistics: choose "
                    "mean, median or max",
                    code="pooling_not_comparable",
                )
            items = StudyItems(
                study=study, salt=bytes.fromhex(self.store.identity.salt), metadata=self.metadata,
                read_header=self.read_header,
            )  # fmt: skip
            usable, contents = self._find_items(items)
            if self.found is not None:
                self.found(list(contents))
            wanted = self._choose(contents)
            self.writer.report.skipped += len(contents) - len(wanted)
            if wanted:
                planned = _Planned(items=items, wanted=wanted, left=len(usable))
                for series in usable:
                    self.queue.append((planned, series))
                    yield series

    def take(self, result: EmbeddedSource) -> int:
        """Write the items of the next series, and of its study after the last one; return the number of images."""
        planned, series = self.queue.popleft()
        planned.left -= 1
        count = 1
        self.writer.open()  # before the hashes, which depend on the store's salt
        planned.items.salt = bytes.fromhex(self.store.identity.salt)
        if result.parts is None:
            if result.error is not None:
                self.writer.report.failed[series.source] = result.error
        else:
            count = len(result.parts.images)
            self._write_series(planned, series, result)
        if not planned.left and planned.vectors and "study" in self.levels:
            vectors = np.stack(planned.vectors)
            study = planned.items.study
            self._put(planned, planned.items.pooled(study, planned.origins, vectors, study.pool(vectors)))
        return count

    def finish(self) -> None:
        """Check that every series had a result."""
        if self.queue:
            raise RuntimeError("a series without a result")

    def _write_series(self, planned: _Planned, series: Series, result: EmbeddedSource) -> None:
        parts = result.parts
        if parts is None or result.embedding is None:
            return
        used = [image for index in parts.indices if isinstance(image := parts.images[index], StudyImage)]
        origins = [image.origin for image in used]
        for index, error in parts.errors.items():
            self.writer.report.failed[str(getattr(parts.images[index], "origin", series.source))] = error
        if "image" in self.levels:
            for image, vector in zip(used, parts.embeddings, strict=True):
                header = image.header_source() or series.header_source()
                self._put(planned, planned.items.image(series, image.origin, header, vector))
        if "series" in self.levels:
            self._put(planned, planned.items.pooled(series, origins, parts.embeddings, result.embedding))
        if "study" in self.levels:
            planned.origins += origins
            planned.vectors += list(parts.embeddings)

    def _put(self, planned: _Planned, item: Item) -> None:
        if item.id not in planned.wanted:
            return
        if not item.embedding.any():  # the standard deviation of a single image
            self.writer.report.failed[item.id.rpartition("#")[0]] = InputError(
                "expected a series or study with a direction, got one image with the pooling std: choose another",
                code="study_without_direction",
            )
            return
        described = bool(self.metadata or self.read_header)
        self.writer.report.undescribed += described and not describe_columns(item.metadata)
        if (metadata := self.earlier.pop(item.id, None)) is not None:
            own = {name: value for name, value in metadata.items() if name not in STUDY_COLUMNS}
            item = replace(item, metadata={**own, **item.metadata})
        self.writer.put(item)

    def _find_items(self, items: StudyItems) -> tuple[list[Series], dict[str, str]]:
        """Return the usable series of a study, and the id and content of each item that it is to have."""
        usable: list[Series] = []
        contents: dict[str, str] = {}
        for series in items.study.series:
            try:
                indices = series.selected_indices()
            except InputError as error:
                self.writer.report.failed[series.source] = error
                continue
            usable.append(series)
            if "image" in self.levels:
                origins = (series.images[index].origin for index in indices)
                contents |= {items.image_id(origin): items.image_content(origin) for origin in origins}
            if "series" in self.levels:
                contents[items.series_id(series)] = items.content([series])
        if "study" in self.levels and usable:
            contents[items.study_id()] = items.content(items.study.series)
        return usable, contents

    def _choose(self, contents: Mapping[str, str]) -> set[str]:
        """Return the ids of the items to write."""
        present = self.store.existing(list(contents))
        if self.existing == "refuse":
            check_new(list(contents), present)
        unchanged: set[str] = set()
        if self.existing == "skip":
            unchanged = present
        elif self.existing == "changed" and present:
            opened = self.writer.open()
            stored = opened.get(sorted(present))
            unchanged = {item.id for item in stored if item.metadata.get("content") == contents[item.id]}
            self.earlier |= {item.id: item.metadata for item in stored if item.id not in unchanged}
        self.writer.expect(present)
        return contents.keys() - unchanged
