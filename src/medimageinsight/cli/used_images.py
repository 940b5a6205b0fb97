"""Which images a result was made of: recorded while a model reads the sources of a command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight.cli import output
from medimageinsight.errors import InputError
from medimageinsight.images import DeferredImage, FramesUnused, ImageGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.images import DecodedImage, HeaderSource, Limits, WindowSelection
    from medimageinsight.studies import Series, Study, StudyImage

SHOWN_NOTES = 5  # sources that are named on the screen


@dataclass(kw_only=True)
class UsedImages:
    """The images of one result.

    Attributes:
        used: Their number.
        of: The number of images that the source has.
        selection: Which of them were chosen; empty for the only image of a file.
        pooling: How their vectors became one; empty for a single image.
        warnings: Code and message of defects that did not prevent the use of the source, each once.
        failed: The errors of images that could not be used, by name.
        header: What has the DICOM header of its first image.
        is_part: Whether it is one image of a series, whose use is printed once for all of them.
    """

    used: int = 1
    of: int = 1
    selection: str = ""
    pooling: str = ""
    warnings: dict[str, str] = field(default_factory=dict)
    failed: dict[str, InputError] = field(default_factory=dict)
    header: HeaderSource | None = None
    is_part: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return ``{"parts": ...}`` of a JSON document; nothing for the only image of a file."""
        if self.of == 1 and not (self.pooling or self.failed):
            return {}
        return {
            "parts": {
                "used": self.used,
                "of": self.of,
                "selection": self.selection,
                **({"pooling": self.pooling} if self.pooling else {}),
                "warnings": [{"code": code, "message": message} for code, message in self.warnings.items()],
                "failed": [{"source": name, "error": error.to_dict()} for name, error in self.failed.items()],
            }
        }


class RecordedImage(DeferredImage):
    """An image that records its number of frames, or the error of a group's image."""

    def __init__(
        self,
        name: str,
        decode: Callable[[WindowSelection | None, Limits], DecodedImage],
        used: UsedImages,
        *,
        in_group: bool = False,
    ) -> None:
        self.name = name
        self._decode = decode
        self._used = used
        self._in_group = in_group

    def header_source(self) -> HeaderSource | None:
        """Return the file of the image."""
        return self._used.header

    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        """Return the decoded image."""
        try:
            decoded = self._decode(window, limits)
        except InputError as error:
            if self._in_group:
                self._used.failed[self.name] = error
            raise
        for warning in decoded.warnings:
            if isinstance(warning, FramesUnused):
                self._used.of, self._used.selection = warning.frames, "frames:0"
        return decoded

    @classmethod
    def of(cls, image: StudyImage, name: str, used: UsedImages, *, in_group: bool = False) -> RecordedImage:
        """Record an image of a study."""
        return cls(
            name,
            lambda window, limits: image.decode(window=window, limits=limits),
            used,
            in_group=in_group,
        )


class RecordedGroup(ImageGroup):
    """A series or study that records which of its images were used."""

    def __init__(self, group: Series | Study, used: UsedImages) -> None:
        self.group = group
        self._used = used

    def selected(self) -> Sequence[RecordedImage]:
        """Return the images that the group selects."""
        images = self.group.selected()
        self._used.used = len(images)
        return [RecordedImage.of(image, str(image.origin), self._used, in_group=True) for image in images]

    def header_source(self) -> HeaderSource | None:
        """Return that of the first image."""
        return self._used.header

    def pool(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector of the embeddings."""
        self._used.used = len(embeddings)
        return self.group.pool(embeddings)


def failed_image(name: str, error: InputError) -> RecordedImage:
    """Return a source that has an error in its position among the results."""

    def decode(_window: WindowSelection | None, _limits: Limits) -> DecodedImage:
        raise error

    return RecordedImage(name, decode, UsedImages())


def describe(group: Series | Study, selection: str | None, pooling: str | None) -> UsedImages:
    """Return what is known of a group before its images are read; selection and pooling are those of the call."""
    from medimageinsight import studies

    series = group.series if isinstance(group, studies.Study) else (group,)
    failed = dict(group.failed) if isinstance(group, studies.Study) else {}
    used = UsedImages(
        of=sum(len(part.images) for part in series) + len(failed),
        selection=selection or ",".join(dict.fromkeys(str(studies.default_selection(part.kind)) for part in series)),
        pooling=pooling or group.pooling,
        failed=failed,
    )
    for holder in (group, *series):
        used.warnings |= {warning.code: warning.message for warning in getattr(holder, "warnings", ())}
    return used


def print_used(names: Sequence[str], used: Sequence[UsedImages]) -> bool:
    """Print which images were used where not all were, their warnings, and errors; return whether images failed."""
    partial = [(name, item) for name, item in zip(names, used, strict=True) if item.used < item.of and not item.is_part]
    for name, item in partial[:SHOWN_NOTES]:
        frames = "frames" if item.selection == "frames:0" else "images"
        output.note(f"{name}: {item.used:,} of {item.of:,} {frames} used: {item.selection} (--select chooses)")
    if len(partial) > SHOWN_NOTES:
        output.note(f"{len(partial) - SHOWN_NOTES:,} more sources, not all of their images used (--select chooses)")
    warned = [(name, message) for name, item in zip(names, used, strict=True) for message in item.warnings.values()]
    for name, message in warned[:SHOWN_NOTES]:
        output.note(f"{name}: warning: {message}")
    if len(warned) > SHOWN_NOTES:
        output.note(f"{len(warned) - SHOWN_NOTES:,} more warnings: see --json")
    for item in used:
        for name, error in item.failed.items():
            output.error(error.message, source=name)
    return any(item.failed for item in used)
