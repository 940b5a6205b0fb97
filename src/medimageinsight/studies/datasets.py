"""DICOM datasets in memory as a source of studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.images import is_dataset
from medimageinsight.studies.files import DatasetFile, FileCollection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.warnings import OnFailure


@dataclass(frozen=True, eq=False)
class Datasets(FileCollection):
    """Datasets that are grouped as the files of a folder are."""

    datasets: Sequence[Dataset]

    @property
    def name(self) -> str:
        """Empty: they have no name."""
        return ""

    def files(self, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:  # noqa: ARG002 - as of any collection
        """Yield each as a file."""
        return (DatasetFile(dataset, number) for number, dataset in enumerate(self.datasets, 1))


def find_datasets(source: object) -> Datasets | None:
    """Return a dataset, or a list of nothing but datasets, as one source; None for anything else."""
    if is_dataset(source):
        return Datasets([source])
    if isinstance(source, list | tuple) and source and all(map(is_dataset, source)):
        return Datasets(source)
    return None
