"""The sources of a command line, opened while a model reads them: images, series and studies; and their embeddings."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.sources import STANDARD_INPUT, list_sources, open_source
from medimageinsight.cli.used_images import (
    RecordedGroup,
    RecordedImage,
    UsedImages,
    describe,
    failed_image,
    print_used,
)
from medimageinsight.errors import InputError
from medimageinsight.images import Limits, is_data_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.reading_options import ReadingOptions
    from medimageinsight.images import DecodedImage, Source, WindowSelection
    from medimageinsight.studies import Origin, Series, Study

    Listed: TypeAlias = tuple[str, Source, UsedImages]


class SourceList:
    """The sources of a command line, opened one by one while a model reads them.

        listed = SourceList(["a.png", "ct/"], reading)
        results = model.embed_images(listed, errors="return")
        listed.names, listed.used                          # of the results so far, in their order

    A file is one image, unless it is of a format with many (a volume, a slide, an archive) or `reading` has other than
    the default options: then it is read as a study, whose selected images, series or study are the sources. A text
    that names an image within a file, as a result does, is that image. What cannot be read is a source with an error.

    Attributes:
        names: What results are called.
        used: The images of each result.
        count: The number of sources; None until they are all read.
        planned: The arguments without their folders, which identify the call.
    """

    def __init__(self, names: Sequence[Any], reading: ReadingOptions, *, frame: int = 0, arrays: bool = True) -> None:
        reading.check_frame(frame)
        self._reading = reading
        self._frame = frame
        self._series: list[tuple[str, UsedImages]] = []  # series whose images are results
        self._plan: list[tuple[Any, bool]]
        if reading.level != "image" or reading.reads_studies:
            self._plan = [(name, True) for name in names]
        else:
            texts = [name for name in names if isinstance(name, str)]
            self._plan = [(name, needs_reading(name)) for name in list_sources(texts, arrays=arrays)]
            self._plan += [(name, True) for name in names if not isinstance(name, str)]
        self.planned = [str(name) for name, _ in self._plan]
        self.count = None if any(as_study for _, as_study in self._plan) else len(self._plan)
        self.names: list[str] = []
        self.used: list[UsedImages] = []

    def __bool__(self) -> bool:
        return bool(self._plan)

    def __iter__(self) -> Iterator[Source]:
        return self.start_at(0)

    def start_at(self, position: int) -> Iterator[Source]:
        """Yield the sources from a position on; those before it are listed, and not opened."""
        self.names.clear()
        self.used.clear()
        for name, as_study in self._plan:
            for shown, source, used in self._read(name) if as_study else [self._single(name)]:
                self.names.append(shown)
                self.used.append(used)
                if len(self.names) > position:
                    yield source
        self.count = len(self.names)

    def only(self) -> Source:
        """Return the one source.

        Raises:
            InputError: There are several (``query_several``).
        """
        sources = list(self)
        if len(sources) != 1:
            raise InputError(
                f"expected one image, got {len(sources)}: choose one with --select, or --level study or series",
                code="query_several",
            )
        return sources[0]

    def header_paths(self) -> list[str | None]:
        """Return the path of the DICOM header of each source so far; None where there is no such file."""
        return [item.header if isinstance(item.header, str) else None for item in self.used]

    def print_used(self) -> bool:
        """Print which images were used, see `used_images.print_used`; return whether some failed."""
        names, used = [name for name, _ in self._series], [item for _, item in self._series]
        return print_used([*names, *self.names], [*used, *self.used])

    def _single(self, name: str) -> Listed:
        """Return the one image of a file."""
        from medimageinsight import images

        used = UsedImages()
        source = open_source(name)
        if name == STANDARD_INPUT:
            source = sys.stdin.buffer.read(Limits().max_bytes + 1)  # its header may be read again

        def decode(window: WindowSelection | None, limits: Limits) -> DecodedImage:
            return images.open(source, frame=self._frame, window=window, limits=limits)

        used.header = source if isinstance(source, str | bytes) else None
        return name, RecordedImage(name, decode, used), used

    def _read(self, name: Any) -> Iterator[Listed]:  # noqa: ANN401 - a path or a collection of files
        """Yield the images, series or studies of a source."""
        from medimageinsight import studies
        from medimageinsight.datasets import open_item

        if not isinstance(name, str):
            yield from self._read_studies(name, str(name))
            return
        if (origin := find_origin(name)) is not None:
            used = UsedImages()
            try:
                yield name, RecordedImage.of(studies.open_image(origin), name, used), used
            except InputError as error:
                yield name, failed_image(name, error), used
        elif name == STANDARD_INPUT:
            yield from self._read_studies(sys.stdin.buffer.read(Limits().max_bytes + 1), name)
        elif is_data_uri(name) or open_item(name) is not None:
            yield self._single(name)
        else:
            yield from self._read_studies(name, name)

    def _read_studies(self, source: Any, name: str) -> Iterator[Listed]:  # noqa: ANN401 - anything that is read
        """Yield the images, series or studies of a source, and the errors of its files in their positions."""
        failures: list[tuple[str, InputError]] = []
        others: list[str] = []
        read = self._reading.read(source, lambda file, error: failures.append((file, error)), others.append)
        for found_in, group in groupby(read, key=lambda study: study.source):
            found = list(group)
            yield from self._take_failures(failures, name)
            if self._reading.level == "study":
                yield from self._name(found_in or name, "study", found)
            else:
                series = [part for study in found for part in study.series]
                if self._reading.level == "series":
                    yield from self._name(found_in or name, "series", series)
                else:
                    for part in series:
                        yield from self._images(part, name)
                damaged = [item for study in found for item in study.failed.items()]
                yield from ((file, failed_image(file, error), UsedImages()) for file, error in damaged)
        yield from self._take_failures(failures, name)
        if others:
            output.note(f"{name}: {len(others):,} files are not images")

    def _take_failures(self, failures: list[tuple[str, InputError]], name: str) -> Iterator[Listed]:
        for file, error in failures:
            yield file or name, failed_image(file, error), UsedImages()
        failures.clear()

    def _name(self, name: str, kind: str, groups: Sequence[Series] | Sequence[Study]) -> Iterator[Listed]:
        """Yield the groups of one file or folder, numbered from 0 if there are several."""
        listed: list[Series | Study] = [*groups]
        for number, group in enumerate(listed):
            shown = name if len(listed) == 1 else f"{name}#{kind}={number}"
            used = describe(group, self._reading.select, self._reading.pooling)
            used.header = group.header_source()
            yield shown, RecordedGroup(group, used), used

    def _images(self, series: Series, name: str) -> Iterator[Listed]:
        """Yield the selected images of a series."""
        whole = describe(series, self._reading.select, None)
        try:
            indices = series.selected_indices()
        except InputError as error:
            shown = series.source or name
            yield shown, failed_image(shown, error), UsedImages()
            return
        whole.used = len(indices)
        self._series.append((series.source or name, whole))
        for index in indices:
            image = series.images[index]
            count = len(series.images)
            used = UsedImages(of=count, selection=f"frames:{index}" if count > 1 else "", is_part=True)
            used.header = image.header_source()
            shown = str(image.origin) if image.origin.path else f"{name}{image.origin}"
            yield shown, RecordedImage.of(image, shown, used), used


def find_origin(name: str) -> Origin | None:
    """Return the origin that a text names, if it is one of an image within a file; None for the name of a file."""
    from medimageinsight.studies import Origin

    if "#" not in name:
        return None
    origin = Origin.parse(name)
    try:
        within = bool(origin.fragment) and not Path(name).exists() and Path(origin.path).is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return None
    return origin if within else None


def needs_reading(name: str) -> bool:
    """Return whether a name is that of an image within a file, or of a file with many images."""
    from medimageinsight.studies.files import BEGINNING, LocalFile
    from medimageinsight.studies.formats import recognise
    from medimageinsight.studies.slides import is_slide

    if name == STANDARD_INPUT or is_data_uri(name):
        return False
    if find_origin(name) is not None:
        return True
    try:
        with Path(name).open("rb") as file:
            found = recognise(file.read(BEGINNING), Path(name).name)
        return found not in ("dicom", "raster") or (found == "raster" and is_slide(LocalFile(name)))
    except (OSError, ValueError):
        return False


def embed_sources(
    model: MedImageInsight, sources: SourceList, *, progress_title: str = "embedding"
) -> list[NDArray[np.float32] | InputError]:
    """Return the embedding (D,) of each source, or its error, with a progress bar."""
    with output.counting(progress_title, sources.count) as progress:
        return model.embed_images(sources, errors="return", progress=progress)


def embed_all_sources(
    model: MedImageInsight, sources: SourceList, *, progress_title: str = "embedding"
) -> NDArray[np.float32]:
    """Return the embeddings (N, D) of all sources; a failed source ends the call."""
    import numpy as np

    rows = []
    embedded = embed_sources(model, sources, progress_title=progress_title)
    for name, result in zip(sources.names, embedded, strict=True):
        if isinstance(result, InputError):
            with error_context(name):
                raise result
        rows.append(result)
    return np.stack(rows)
