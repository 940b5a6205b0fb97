"""Real clinical images to show a model with: pydicom carries them in its own package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Example:
    """One of pydicom's files and what it shows."""

    file: str
    what: str


EXAMPLES = (
    Example(file="J2K_pixelrep_mismatch.dcm", what="CT, head"),
    Example(file="CT_small.dcm", what="CT, chest"),
    Example(file="examples_overlay.dcm", what="MR, abdomen"),
    Example(file="MR_small.dcm", what="MR, 64 x 64 pixels"),
    Example(file="examples_ybr_color.dcm", what="ultrasound, heart"),
    Example(file="examples_rgb_color.dcm", what="ultrasound, lymph node"),
)

PROMPTS = (
    "computed tomography head axial",
    "computed tomography chest axial",
    "computed tomography abdomen axial",
    "magnetic resonance imaging brain",
    "magnetic resonance imaging abdomen axial",
    "ultrasound heart",
    "ultrasound breast",
    "x-ray chest anteroposterior",
    "fundus photography retina",
    "dermoscopy skin",
)


def example_path(file: str) -> str | None:
    """Where one of pydicom's files lies; None where pydicom was installed without them. Nothing is downloaded."""
    from pydicom.data import get_testdata_file

    try:
        path = get_testdata_file(file, download=False)
    except ValueError:
        return None
    return path if isinstance(path, str) else None
