"""Real images with their truth for demonstrations: those of the folder ``builtin/demo``, and pydicom's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "builtin" / "demo"
TABLE = "images.toml"


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image with its truth, and its source if it is in this package.

    Attributes:
        file: Name in `FOLDER`, or of one of pydicom's files.
        title: A few words for people.
        modality: As worded in prompts; empty if the image is not a medical one.
        anatomy: As worded in prompts; empty if it cannot be named.
        finding: In words.
        source: Name of the data set.
        author: Names of its authors.
        licence: SPDX identifier.
        url: Of the data set.
        file_there: Name in the data set.
        changed: What was changed except scale and coding.
    """

    file: str
    title: str
    modality: str = ""
    anatomy: str = ""
    finding: str = ""
    source: str = ""
    author: str = ""
    licence: str = ""
    url: str = ""
    file_there: str = ""
    changed: str = ""


CT, MR, US = "computed tomography", "magnetic resonance imaging", "ultrasound"

# Of pydicom's own package, not part of this one.
EXAMPLES = (
    Example(file="J2K_pixelrep_mismatch.dcm", title="CT of the head", modality=CT, anatomy="head"),
    Example(file="CT_small.dcm", title="CT of the chest, 128 pixels wide", modality=CT, anatomy="chest"),
    Example(file="examples_overlay.dcm", title="MRI of the abdomen", modality=MR, anatomy="abdomen"),
    Example(file="MR_small.dcm", title="MRI, part of an image, 64 pixels wide", modality=MR),
    Example(file="examples_ybr_color.dcm", title="Ultrasound of the heart", modality=US, anatomy="heart"),
    Example(file="examples_rgb_color.dcm", title="Ultrasound of a lymph node", modality=US, anatomy="lymph node"),
)

# Modality and anatomy of each prompt. Some belong to no image: a choice among the right ones alone would be easier.
KINDS = (
    (CT, "head"),
    (CT, "chest"),
    (CT, "abdomen"),
    (MR, "brain"),
    (MR, "chest"),
    (MR, "abdomen"),
    (US, "heart"),
    (US, "breast"),
    (US, "fetal head"),
    (US, "lymph node"),
    ("x-ray", "chest"),
    ("x-ray", "hand"),
    ("mammography", "breast"),
    ("fundus photography", "retina"),
    ("dermoscopy", "skin"),
    ("microscopy", "peripheral blood smear"),
    ("histopathology", "oral cavity"),
    ("endoscopy", "colon"),
)
PROMPTS = tuple(f"{modality} {anatomy}" for modality, anatomy in KINDS)

# Texts to search for, each with the file that it describes.
TEXT_QUERIES = (
    ("chest x-ray with pneumonia", "chest-xray-pneumonia.jpg"),
    ("neutrophil in a blood smear", "neutrophil.jpg"),
    ("ultrasound of a fetal head", "fetal-ultrasound.jpg"),
)
# Files whose most similar images are looked for; each has others of its kind.
CASE_QUERIES = ("chest-xray-pneumonia.jpg", "neutrophil.jpg", "chest-ct.jpg")


def shipped_examples() -> tuple[Example, ...]:
    """Read the images of this package with their sources and licences; the last one is not a medical image."""
    import tomllib

    table = tomllib.loads((FOLDER / TABLE).read_text("utf-8"))
    return tuple(Example(**entry) for entry in table["image"])


def example_path(file: str) -> str | None:
    """Return the path of an image of this package or of pydicom, or None without it; nothing is downloaded."""
    if (FOLDER / file).is_file():
        return str(FOLDER / file)
    from pydicom.data import get_testdata_file

    try:
        path = get_testdata_file(file, download=False)
    except ValueError:
        return None
    return path if isinstance(path, str) else None
