"""Sources that are decoded when they are needed: a slice of a volume, a tile of a slide, a whole study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

HeaderSource: TypeAlias = Union[str, bytes, "Dataset"]
"""A path, an encoded file, or a DICOM dataset."""


class DeferredImage(ABC):
    """One image of a larger whole; `images.open` calls `decode`, from any thread.

    A subclass raises an `ImageError` for an image that cannot be decoded, as `images.open` does.
    """

    def header_source(self) -> HeaderSource | None:
        """Return what has the DICOM header of the image, or may have one: its file or dataset; None if nothing has."""
        return None

    @abstractmethod
    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        """Return the decoded image; `window` is the range of grey values to display, None the image's own choice."""


class ImageGroup(ABC):
    """Several images with one vector, such as a study: embedding pools the vectors of its images."""

    def header_source(self) -> HeaderSource | None:
        """Return what has the DICOM header of the first image, or may have one; None if nothing has."""
        return None

    @abstractmethod
    def selected(self) -> Sequence[DeferredImage]:
        """Return the images whose vectors are pooled, at least one.

        Raises:
            InputError: They cannot be chosen.
        """

    @abstractmethod
    def pool(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector of the embeddings (n, D) of those selected images that can be used, n >= 1."""
