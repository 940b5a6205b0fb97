"""The location of an image within a file: a frame, a member of an archive, a slice of a volume, a region of a slide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote, unquote

from medimageinsight.errors import InputError

Plane: TypeAlias = Literal["axial", "coronal", "sagittal"]
Region: TypeAlias = tuple[int, int, int, int]
"""x, y, width and height in pixels of the slide's highest resolution."""

_SAFE = "/ ()[]+,;:@!$'*~"  # characters of a member's name that stay as they are
_NUMBERS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){3}")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an image comes from, written as ``PATH#member=a/1.dcm&frame=3``.

        Origin.parse("ct.zip#member=1.dcm&frame=3")
        str(Origin(path="head.nii.gz", plane="axial", frame=17))         # "head.nii.gz#plane=axial&frame=17"

    Args:
        path: The file as it was given, or the URL of a DICOM instance.
        member: The name of a member of an archive.
        frame: The index of a frame, page or slice, from 0; None for a file's only image.
        plane: The plane of a slice of a volume; empty for the frames as they are stored.
        region: A region of a slide.
        microns_per_pixel: The resolution at which the region is read; None is the highest.
        window: The window that the image is displayed with, if it is one of several: ``lung``, ``40/400``; three with
            commas in between for those that are the channels of one image.
    """

    path: str
    member: str = ""
    frame: int | None = None
    plane: Plane | Literal[""] = ""
    region: Region | None = None
    microns_per_pixel: float | None = None
    window: str = ""

    @property
    def fragment(self) -> str:
        """What follows ``#``; empty for an image that is the whole file."""
        parts = []
        if self.member:
            parts.append(f"member={quote(self.member, safe=_SAFE)}")
        if self.plane:
            parts.append(f"plane={self.plane}")
        if self.frame is not None:
            parts.append(f"frame={self.frame}")
        if self.region is not None:
            parts.append("region=" + ",".join(map(str, self.region)))
        if self.microns_per_pixel is not None:
            parts.append(f"mpp={self.microns_per_pixel:g}")
        if self.window:
            parts.append(f"window={quote(self.window, safe=_SAFE)}")
        return "&".join(parts)

    def __str__(self) -> str:
        return f"{self.path}#{self.fragment}" if self.fragment else self.path

    @classmethod
    def parse(cls, name: str) -> Origin:
        """Return the origin that a text names; a text without a valid fragment is a path.

        A ``#`` is common in file names, so that only a fragment as `__str__` writes it counts as one.
        """
        path, mark, fragment = name.rpartition("#")
        if not mark:
            return cls(path=name)
        try:
            return cls.from_fragment(path, fragment)
        except InputError:
            return cls(path=name)

    @classmethod
    def from_fragment(cls, path: str, fragment: str) -> Origin:
        """Return the origin of a path and what follows ``#``.

        Raises:
            InputError: ``origin_invalid``.
        """
        values = dict(part.partition("=")[::2] for part in fragment.split("&")) if fragment else {}
        try:
            origin = cls(
                path=path,
                member=unquote(values.pop("member", ""), errors="strict"),
                frame=int(values.pop("frame")) if "frame" in values else None,
                plane=_parse_plane(values.pop("plane", "")),
                region=_parse_region(values.pop("region")) if "region" in values else None,
                microns_per_pixel=float(values.pop("mpp")) if "mpp" in values else None,
                window=unquote(values.pop("window", ""), errors="strict"),
            )
        except ValueError:
            origin = None
        if origin is None or values or origin.fragment != fragment:
            raise InputError(
                "expected a place within a file such as member=a.dcm&frame=3, got another text: copy it from a result",
                code="origin_invalid",
            )
        return origin


def _parse_plane(text: str) -> Plane | Literal[""]:
    for plane in get_args(Plane):
        if text == plane:
            return plane  # type: ignore[no-any-return]
    if text:
        raise ValueError(text)
    return ""


def _parse_region(text: str) -> Region:
    if not _NUMBERS.fullmatch(text):
        raise ValueError(text)
    x, y, width, height = map(int, text.split(","))
    return x, y, width, height
