"""Real clinical images for demonstrations, shipped in pydicom's own package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Example:
    """One of pydicom's files, with a description and its modality as worded in prompts."""

    file: str
    description: str
    modality: str


CT, MR, US = "computed tomography", "magnetic resonance imaging", "ultrasound"

EXAMPLES = (
    Example(file="J2K_pixelrep_mismatch.dcm", description="CT, head", modality=CT),
    Example(file="CT_small.dcm", description="CT, chest", modality=CT),
    Example(file="examples_overlay.dcm", description="MR, abdomen", modality=MR),
    Example(file="MR_small.dcm", description="MR, 64 x 64 pixels", modality=MR),
    Example(file="examples_ybr_color.dcm", description="US, heart", modality=US),
    Example(file="examples_rgb_color.dcm", description="US, lymph node", modality=US),
)

PROMPTS = (
    f"{CT} head axial",
    f"{CT} chest axial",
    f"{CT} abdomen",
    f"{MR} brain",
    f"{MR} abdomen",
    f"{US} heart",
    f"{US} breast",
    "x-ray chest anteroposterior",
    "fundus photography retina",
    "dermoscopy skin",
)


def example_path(file: str) -> str | None:
    """Return the path of one of pydicom's files, or None if it is not installed; nothing is downloaded."""
    from pydicom.data import get_testdata_file

    try:
        path = get_testdata_file(file, download=False)
    except ValueError:
        return None
    return path if isinstance(path, str) else None
