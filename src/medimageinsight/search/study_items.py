"""Items of a study in a store: ids, hashed keys, and metadata of its images, series and of itself."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from medimageinsight.files.paths import canonical_path
from medimageinsight.search.dicom_metadata import hash_identifier
from medimageinsight.search.records import LEVEL_COLUMN, ORIGIN_COLUMN, SERIES_COLUMN, STUDY_COLUMN, Item
from medimageinsight.studies import Origin, Series, Study, default_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.images import HeaderSource
    from medimageinsight.search.records import Value

    PathMetadata = Callable[[str], Mapping[str, Value] | None]
    HeaderMetadata = Callable[[HeaderSource], Mapping[str, Value]]


@dataclass(kw_only=True)
class StudyItems:
    """Makes the items of one study.

    Args:
        study: The study.
        salt: The store's salt.
        metadata: Functions from path to metadata.
        read_header: Function from a DICOM header to metadata.
    """

    study: Study
    salt: bytes
    metadata: Sequence[PathMetadata] = ()
    read_header: HeaderMetadata | None = None
    _states: dict[str, str] = field(default_factory=dict)
    _headers: dict[str, Mapping[str, Value]] = field(default_factory=dict)

    @property
    def study_key(self) -> str:
        """The study's key in the store."""
        return self._hash(self.study.key, self.study.source)

    def series_key(self, series: Series) -> str:
        """Return a series' key in the store."""
        return self._hash(f"{self.study.key}\n{series.key}", series.source)

    def image_id(self, origin: Origin) -> str:
        """Return the id of an image: the canonical path of its file and its fragment."""
        path = _spell(origin.path)
        return f"{path}#{origin.fragment}" if origin.fragment else path

    def series_id(self, series: Series) -> str:
        """Return the id of a series: the folder or file of its images and its key."""
        return f"{_common_path(_origins([series]))}#series={self.series_key(series)[:16]}"

    def study_id(self) -> str:
        """Return the id of the study: the folder or file of its images and its key."""
        return f"{_common_path(_origins(self.study.series))}#study={self.study_key[:16]}"

    def content(self, series: Iterable[Series]) -> str:
        """Return a hash of the sizes and times of the files of series, and of what they are called."""
        digest = hashlib.blake2b(digest_size=8)
        for origin in sorted(_origins(series), key=str):
            digest.update(
                f"{_spell(origin.path)}\n{origin.fragment}\n{self._state(origin.path)}\n".encode("utf-8", "replace")
            )
        return digest.hexdigest()

    def image_content(self, origin: Origin) -> str:
        """Return a hash of the size and time of an image's file."""
        return hashlib.blake2b(self._state(origin.path).encode(), digest_size=8).hexdigest()

    def image(self, series: Series, origin: Origin, header: HeaderSource | None, vector: NDArray[np.float32]) -> Item:
        """Return the item of an image."""
        metadata: dict[str, Value] = {**self._described(origin.path), **self._read_header(header)}
        return Item(
            id=self.image_id(origin),
            path=origin.path,
            embedding=vector,
            metadata={
                **metadata,
                LEVEL_COLUMN: "image",
                **({ORIGIN_COLUMN: origin.fragment} if origin.fragment else {}),
                STUDY_COLUMN: self.study_key,
                SERIES_COLUMN: self.series_key(series),
                "selection": str(series.selection or default_selection(series.kind)),
                "content": self.image_content(origin),
            },
        )

    def pooled(
        self,
        group: Series | Study,
        origins: Sequence[Origin],
        vectors: NDArray[np.float32],
        vector: NDArray[np.float32],
    ) -> Item:
        """Return the item of a series or study, pooled from the vectors of images; it shows the most similar one."""
        shown = origins[int((vectors @ vector).argmax())]
        series = (group,) if isinstance(group, Series) else group.series
        is_series = isinstance(group, Series)
        selections = dict.fromkeys(str(part.selection or default_selection(part.kind)) for part in series)
        keys = {self.series_key(part) for part in series}
        return Item(
            id=self.series_id(group) if isinstance(group, Series) else self.study_id(),
            path=shown.path,
            embedding=vector,
            metadata={
                **self._shared(origins),
                **self._read_header(group.header_source()),
                LEVEL_COLUMN: "series" if is_series else "study",
                **({ORIGIN_COLUMN: shown.fragment} if shown.fragment else {}),
                STUDY_COLUMN: self.study_key,
                **({SERIES_COLUMN: keys.pop()} if len(keys) == 1 else {}),
                "parts": len(vectors),
                "selection": ",".join(selections),
                "pooling": group.pooling,
                "content": self.content(series),
            },
        )

    def _hash(self, key: str, source: str) -> str:
        """Return a key's hash; the path of a file counts in its one spelling."""
        return hash_identifier(key.replace(source, _spell(source)) if source else key, self.salt)

    def _described(self, path: str) -> dict[str, Value]:
        columns: dict[str, Value] = {}
        for source in self.metadata:
            columns.update(source(path) or {})
        return columns

    def _shared(self, origins: Iterable[Origin]) -> dict[str, Value]:
        """Return the metadata that all images have in common."""
        paths = dict.fromkeys(origin.path for origin in origins)
        if not self.metadata:
            return {}
        first, *others = [self._described(path) for path in paths]
        return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}

    def _read_header(self, header: HeaderSource | None) -> Mapping[str, Value]:
        if self.read_header is None or header is None:
            return {}
        if not isinstance(header, str):
            return self.read_header(header)
        if header not in self._headers:
            self._headers[header] = self.read_header(header)
        return self._headers[header]

    def _state(self, path: str) -> str:
        if path not in self._states:
            try:
                found = os.stat(path)  # noqa: PTH116 - as it was given
                self._states[path] = f"{found.st_size} {found.st_mtime_ns}"
            except (OSError, ValueError):  # a URL
                self._states[path] = ""
        return self._states[path]


def _origins(series: Iterable[Series]) -> list[Origin]:
    return [image.origin for part in series for image in part.images]


def _spell(path: str) -> str:
    return path if _is_url(path) else canonical_path(path)


def _is_url(path: str) -> bool:
    return path.lower().startswith(("http://", "https://"))


def _common_path(origins: Sequence[Origin]) -> str:
    """Return the file of all images, else the folder that has all of them."""
    paths = list(dict.fromkeys(_spell(origin.path) for origin in origins))
    if len(paths) == 1:
        return paths[0]
    try:
        return os.path.commonpath([str(PurePath(path).parent) for path in paths])
    except ValueError:  # of several disks
        return paths[0]


def describe_columns(metadata: Mapping[str, Any]) -> set[str]:
    """Return the metadata columns of an item that are not its location in a study."""
    from medimageinsight.search.records import STUDY_COLUMNS

    return set(metadata) - STUDY_COLUMNS.keys()
