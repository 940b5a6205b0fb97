"""Recognise objects with pixels that are no images of a patient: segmentations, dose grids, parametric maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.elements import text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_KINDS = {  # PS3.4 B.5: those Storage SOP classes whose pixels are labels, doses or derived quantities
    _STORAGE + "30": "a parametric map",
    _STORAGE + "66.4": "a segmentation",
    _STORAGE + "66.7": "a label map segmentation",
    _STORAGE + "66.8": "a height map segmentation",
    _STORAGE + "81.1": "an ophthalmic thickness map",
    _STORAGE + "82.1": "a corneal topography map",
    _STORAGE + "481.2": "an RT dose grid",
}
_MODALITIES = {"OPM": "an ophthalmic map", "RTDOSE": "an RT dose grid", "SEG": "a segmentation"}  # PS3.3 C.7.3.1.1.1


def check_not_map(dataset: Dataset) -> None:
    """Reject a map (``image_is_map``), by its SOP class or, without a SOP class, by its modality."""
    sop_class = text(dataset, "SOPClassUID") or text(getattr(dataset, "file_meta", dataset), "MediaStorageSOPClassUID")
    kind = _KINDS.get(sop_class) if sop_class else _MODALITIES.get(text(dataset, "Modality"))
    if kind is not None:
        raise ImageError(
            f"expected an image of a patient, got {kind}: choose the image it was made from, or set accept_maps",
            code="image_is_map",
        )


def kind_of(dataset: Dataset) -> str:
    """Return the name of a dataset's SOP class for a message: one of the standard, never the text of the file."""
    from pydicom.uid import UID

    # The file meta first: it is present even where the dataset ends early.
    stated = text(getattr(dataset, "file_meta", dataset), "MediaStorageSOPClassUID") or text(dataset, "SOPClassUID")
    kind = UID(stated, validation_mode=0)  # an invalid one is no reason for a warning
    return "a non-standard kind" if kind.name == str(kind) else f"the kind '{kind.name}'"
