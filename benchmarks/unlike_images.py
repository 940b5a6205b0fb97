"""Which images the mark "unlike anything this model was checked on" finds, and how many it marks wrongly.

    mi2 statistics BUNDLE TABLE                                        # on the split val
    python benchmarks/unlike_images.py BUNDLE TABLE --other TABLE2     # on the split test

Images of the split test are like the checked ones: their marks are false. Those of the other table are of kinds that
the model never saw; natural images are parts of scikit-learn's photographs; blank and noise images are made here. The
texts are the captions of the first table.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from medimageinsight import MedImageInsight
from medimageinsight.bundle import STATISTICS
from medimageinsight.datasets import read_table

SIZE = 128  # pixels, of images that are made here
OTHERS_PER_SOURCE = 40


def main() -> None:
    """Print the shares of marked images, by criterion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--other", type=Path, help="a table of kinds that the model never saw")
    options = parser.parse_args()
    model = MedImageInsight.load(options.bundle)
    if model.statistics is None:
        raise SystemExit(f"expected {STATISTICS} in the bundle, got none: run mi2 statistics")
    table = read_table(options.table)
    texts = model.embed_texts(sorted({sample.caption for sample in table}))
    rng = np.random.default_rng(0)
    groups = {"held out (test)": [sample.lazy_source() for sample in table.of_split("test")]}
    if options.other:
        by_source = defaultdict(list)
        for sample in read_table(options.other):
            by_source[sample.source].append(sample)
        groups["kinds never seen"] = [
            samples[index].lazy_source()
            for _, samples in sorted(by_source.items())
            for index in sorted(rng.choice(len(samples), min(OTHERS_PER_SOURCE, len(samples)), replace=False))
        ]
    groups["natural"] = natural_images(rng)
    groups["blank"] = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in range(0, 256, 8)]
    grey = rng.integers(0, 256, (30, SIZE, SIZE, 1), dtype=np.uint8)
    groups["noise"] = [*rng.integers(0, 256, (30, SIZE, SIZE, 3), dtype=np.uint8), *grey.repeat(3, axis=3)]
    print("| images | count | by cosine | by distance | marked |\n|---|---|---|---|---|")
    for name, sources in groups.items():
        vectors = model.embed_images(sources, errors="skip")
        far = np.array(model.statistics.unlike(vectors))
        marked = np.array(model.statistics.unlike(vectors, (vectors @ texts.T).max(axis=1)))
        low = (vectors @ texts.T).max(axis=1) < model.statistics.cosine.at(0.01)
        print(f"| {name} | {len(vectors):,} | {low.mean():.1%} | {far.mean():.1%} | {marked.mean():.1%} |")


def natural_images(rng: np.random.Generator) -> list[np.ndarray]:
    """Return 30 random square parts of each of scikit-learn's photographs."""
    from sklearn.datasets import load_sample_images

    parts = []
    for image in load_sample_images().images:
        for _ in range(30):
            size = int(rng.integers(120, min(image.shape[:2]) + 1))
            top, left = (int(rng.integers(0, length - size + 1)) for length in image.shape[:2])
            parts.append(image[top : top + size, left : left + size])
    return parts


if __name__ == "__main__":
    main()
