"""Selections of images of a series: how well their pooled vector stands for that of all images.

    python benchmarks/studies_selection.py ../shared/data/medmix2/medmix2.parquet ../shared/data/samples

Series are the slices of the table's volumes, a series for each patient, anatomy and plane; the samples' NIfTI volumes
in each of the three planes; and their ultrasound loops, which have no kinds. Printed are the images that are embedded
for a series, the cosine with the pooled vector of all images (mean and smallest), and how often the series most similar
to a series, among those of other patients, has the same anatomy and plane, if any has. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from medimageinsight import MedImageInsight, studies
from medimageinsight.datasets import read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCES = ("ct_volumes", "mr_volumes", "mr_thorax", "ct_head_ge")
BRAINS = ("MR_Gd.nii.gz", "spm152.nii.gz", "anatomical.nii", "example4d.nii.gz")
LOOPS = ("examples_ybr_color.dcm",)
SELECTIONS = (
    "all", "every:2", "every:4", "even:1", "even:4", "even:8", "even:16", "even:32", "even:64", "centre:0", "centre:2",
    "centre:8",
)  # fmt: skip


class Embedded(NamedTuple):
    """The vectors of a series."""

    kind: str  # anatomy and plane; empty where it is not known
    patient: str
    vectors: NDArray[np.float32]


def main() -> None:
    """Embed all images, and print a table for each group of series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--pooling", choices=get_args(studies.Pooling), default="median")
    arguments = parser.parse_args()
    model = MedImageInsight.load()
    table, volumes = from_table(model, arguments.table), from_volumes(model, arguments.samples / "nifti")
    groups = {
        "slices chosen from volumes": table,
        "whole volumes in three planes": volumes,
        "both": [*table, *volumes],
        "ultrasound loops": from_loops(model, arguments.samples / "dicom"),
    }
    for name, series in groups.items():
        lengths = sorted(len(item.vectors) for item in series)
        print(f"\n{name}: {len(series)} series of {lengths[0]} to {lengths[-1]} images\n")
        print("| selection | images | cosine, mean | smallest | nearest of the same kind |\n|---|---|---|---|---|")
        for text in SELECTIONS:
            print(f"| `{text}` | " + " | ".join(measure(series, text, arguments.pooling)) + " |")


def from_table(model: MedImageInsight, path: Path) -> list[Embedded]:
    """Return a series for each patient, anatomy and plane of the volumes in a table."""
    grouped = defaultdict(list)
    for sample in read_table(path):
        if sample.source in SOURCES:
            grouped[sample.patient_id, f"{sample.modality} {sample.anatomy} {sample.view}"].append(sample.path)
    return [Embedded(kind, patient, model.embed_images(sorted(paths))) for (patient, kind), paths in grouped.items()]


def from_volumes(model: MedImageInsight, folder: Path) -> list[Embedded]:
    """Return a series for each plane of each volume of a brain."""
    return [
        Embedded(f"magnetic resonance imaging brain {plane}", name, model.embed_images(study.series[0].images))
        for name in BRAINS
        for plane in get_args(studies.Plane)
        for study in studies.read(folder / name, plane=plane)
    ]


def from_loops(model: MedImageInsight, folder: Path) -> list[Embedded]:
    """Return the series of loops."""
    return [
        Embedded("", name, model.embed_images(study.series[0].images))
        for name in LOOPS
        for study in studies.read(folder / name)
    ]


def measure(series: list[Embedded], text: str, pooling: studies.Pooling) -> list[str]:
    """Return the cells of a selection."""
    choose = studies.parse_selection(text).choose
    chosen = [choose([None] * len(item.vectors)) for item in series]  # by number: the images are not looked at
    pooled = np.stack(
        [studies.pool(item.vectors[rows], pooling) for item, rows in zip(series, chosen, strict=True)]
    ).astype(float)
    whole = np.stack([studies.pool(item.vectors, pooling) for item in series]).astype(float)
    cosines = (pooled * whole).sum(axis=1)
    found = [
        series[best].kind == item.kind
        for query, item in enumerate(series)
        if any(other.kind == item.kind != "" and other.patient != item.patient for other in series)
        for best in [max(others(series, query), key=lambda row: float(pooled[row] @ pooled[query]))]
    ]
    nearest = f"{np.mean(found):.3f} of {len(found)}" if found else ""
    images = np.mean([len(rows) for rows in chosen])
    return [f"{images:.1f}", f"{cosines.mean():.4f}", f"{cosines.min():.4f}", nearest]


def others(series: list[Embedded], query: int) -> list[int]:
    """Return the rows of other patients."""
    return [row for row, item in enumerate(series) if item.patient != series[query].patient]


if __name__ == "__main__":
    main()
