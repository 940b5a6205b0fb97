"""Ordered images as a series, and the series of one study."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from medimageinsight.images import ImageGroup
from medimageinsight.studies.pooling import DEFAULT_POOLING, pool
from medimageinsight.studies.selection import default_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.errors import InputError
    from medimageinsight.images import HeaderSource
    from medimageinsight.studies.geometry import SliceGeometry
    from medimageinsight.studies.pooling import Pooling
    from medimageinsight.studies.selection import Selection
    from medimageinsight.studies.study_image import Kind, StudyImage
    from medimageinsight.studies.warnings import StudyWarning


@dataclass(frozen=True, kw_only=True, eq=False)
class Series(ImageGroup):
    """Images in their order, as one source: `embed_images` returns the vector that `pooling` makes of theirs.

    Args:
        kind: What the images are to each other.
        images: All images in order, possibly a lazy sequence; a pooled vector uses those that `selection` chooses.
        key: Distinguishes the series within a run; a DICOM UID may identify a patient, so it is never stored.
        source: The file, folder or URL that it was read from, as it was given.
        modality: The DICOM modality, such as ``CT``; empty where it is not known.
        warnings: Defects that did not prevent its use.
        geometry: Where its images are in space, in their order; None where that is not known.
        header: Returns the DICOM dataset of the first image without its pixels; None for other formats.
        selection: Which of the images are used; None is the default of its kind.
        pooling: How the vectors of the images become one.
        windows_per_image: How many of `images` follow each other as the same image in other windows; a selection
            chooses all of them or none.
    """

    kind: Kind
    images: Sequence[StudyImage]
    key: str
    source: str
    modality: str = ""
    warnings: tuple[StudyWarning, ...] = ()
    geometry: SliceGeometry | None = None
    header: Callable[[], Dataset | None] = field(default=lambda: None)
    selection: Selection | None = None
    pooling: Pooling = DEFAULT_POOLING
    windows_per_image: int = 1

    def selected_indices(self) -> list[int]:
        """Return the indices of the images that the selection chooses, ascending.

        Raises:
            InputError: The selection does not fit the series (``selection_not_applicable``).
        """
        selection, step = self.selection or default_selection(self.kind), self.windows_per_image
        if step == 1:
            return selection.choose(self.images)
        chosen = selection.choose(self.images[::step])
        return [index * step + window for index in chosen for window in range(step)]

    def selected(self) -> list[StudyImage]:
        """Return the images that the selection chooses, in order; errors as `selected_indices`."""
        return [self.images[index] for index in self.selected_indices()]

    def pool(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector of the embeddings (n, D) of images, (D,), or (7 * D,) for ``statistics``."""
        return pool(embeddings, self.pooling)

    def header_source(self) -> HeaderSource | None:
        """Return the path of the first image's file, else its header; None for other formats in memory."""
        path = self.images[0].header_source() if len(self.images) else None
        return self.header() if path is None else path

    def with_options(self, *, selection: Selection | None = None, pooling: Pooling = DEFAULT_POOLING) -> Series:
        """Return the series with another selection and pooling."""
        return replace(self, selection=selection, pooling=pooling)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study(ImageGroup):
    """The series of one study, as one source: `embed_images` returns the vector of all their selected images.

    Args:
        key: Distinguishes the study within a run; a DICOM UID may identify a patient, so it is never stored.
        source: The file, folder or URL that it was read from, as it was given.
        series: At least one.
        failed: The errors of files that belong to it, by name.
        warnings: Files that were left out because they are no images of the patient, each kind once.
        pooling: How the vectors of the images become one.
    """

    key: str
    source: str
    series: tuple[Series, ...]
    failed: Mapping[str, InputError] = field(default_factory=dict)
    warnings: tuple[StudyWarning, ...] = ()
    pooling: Pooling = DEFAULT_POOLING

    def selected(self) -> list[StudyImage]:
        """Return the images that the selections of its series choose, series after series.

        Raises:
            InputError: A selection does not fit its series (``selection_not_applicable``).
        """
        return [image for series in self.series for image in series.selected()]

    def pool(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector of the embeddings (n, D) of images, (D,), or (7 * D,) for ``statistics``."""
        return pool(embeddings, self.pooling)

    def header_source(self) -> HeaderSource | None:
        """Return that of the first series."""
        return self.series[0].header_source()

    def with_options(self, *, selection: Selection | None = None, pooling: Pooling = DEFAULT_POOLING) -> Study:
        """Return the study with another selection in each series and another pooling."""
        series = tuple(part.with_options(selection=selection, pooling=pooling) for part in self.series)
        return replace(self, series=series, pooling=pooling)
