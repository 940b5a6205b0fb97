"""What the header of a volume states, in the terms that all formats share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.studies.volumes.errors import unsupported
from medimageinsight.studies.volumes.geometry import check_affine
from medimageinsight.studies.volumes.volume import Scale, Volume, display_values
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import Limits
    from medimageinsight.studies.volumes.samples import Samples

ORIENTATION_UNKNOWN = StudyWarning(
    "volume_orientation_unknown",
    "the header does not state the orientation: that which its format assumes was taken",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """The header of a volume.

    Args:
        samples: The values: of the first volume only, if its axes of time follow those of space.
        channel_axis: The axis of `samples` with the channels of a colour; None for grey.
        space_axes: The three axes of `samples` that are those of space; fewer in a file of one slice.
        affine: (4, 4), from the indices along the axes of space to DICOM's coordinates in millimetres.
        stored_size: Bytes of all values that the file must have.
        slice_axis: Which of the three axes of space is that of the slices, if it is stated.
        scale: From stored values to those that the file means.
        hounsfield: Whether it states that they are Hounsfield units.
        warnings: Defects, and what was not used.
    """

    samples: Samples
    space_axes: tuple[int, ...]
    affine: NDArray[np.float64]
    stored_size: int
    channel_axis: int | None = None
    slice_axis: int | None = None
    scale: Scale = field(default=lambda values: values)
    hounsfield: bool = False
    warnings: tuple[StudyWarning, ...] = ()

    def check(self, limits: Limits) -> None:
        """Reject what cannot be read, see `Samples.check`."""
        self.samples.check(limits, stored=self.stored_size)
        check_affine(self.affine)
        if self.channel_axis is not None and self.samples.dtype.newbyteorder("=") != np.uint8:
            raise unsupported(f"colour of type {self.samples.dtype.name}")

    def volume(self) -> Volume:
        """Return the volume, without its values."""
        sizes = [self.samples.shape[axis] for axis in self.space_axes] + [1, 1, 1]
        return Volume(
            shape=(sizes[0], sizes[1], sizes[2]),
            affine=self.affine,
            bytes_needed=self.samples.size,
            read=partial(_load, self),
            scale=self.scale,
            display=partial(display_values, steps=self.samples.dtype.kind in "iu", hounsfield=self.hounsfield),
        )


def _load(header: Header, limits: Limits) -> NDArray[Any]:
    """Return values (i, j, k), or (i, j, k, channels)."""
    values = header.samples.read(limits)
    others = [axis for axis in range(values.ndim) if axis not in (*header.space_axes, header.channel_axis)]
    order = (*others, *header.space_axes, *(() if header.channel_axis is None else (header.channel_axis,)))
    values = values.transpose(order)[(0,) * len(others)]  # the first of each axis that is none of space
    for axis in range(len(header.space_axes), 3):
        values = np.expand_dims(values, axis)
    return values


def first_volume_used(count: int) -> StudyWarning:
    """Return the warning that only the first of several volumes in a file is used."""
    return StudyWarning("volume_first_of_several", f"the file has {count:,} volumes (time points): the first was used")
