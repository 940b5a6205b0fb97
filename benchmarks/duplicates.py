"""Precision and recall of `search.find_duplicate_clusters` among real images with copies of some of them.

    python benchmarks/duplicates.py ../shared/data/medmix/medmix.csv --images 400

One image in four gets copies: JPEG of quality 75, half the size, without 2 % of its width and height, without 4 % at
one corner, and all of the first three together; the threshold is measured with copies of the first three kinds. Pairs
that the table's column ``dup_group`` declares are right, too. Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from medimageinsight import MedImageInsight, search

KINDS = ("JPEG 75", "half size", "2 % cropped", "4 % cropped at a corner", "all three")
COPIED = 4  # one image in so many


def make_all_copies(image: Image.Image) -> list[Image.Image]:
    """Return one copy of an image of each of the `KINDS`."""
    jpeg, half, cropped = search.make_copies(image)
    corner = image.crop((round(image.width * 0.04), round(image.height * 0.04), image.width, image.height))
    buffer = io.BytesIO()
    search.make_copies(cropped)[1].save(buffer, "JPEG", quality=75)
    return [jpeg, half, cropped, corner, Image.open(buffer)]


def write_images(table: Path, count: int, split: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Write images and copies into a folder; return path to the name of the original and the kind of copy."""
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), min(count, len(rows)), replace=False))
    written = {}
    for number, row in enumerate(rows[index] for index in chosen):
        image = Image.open(table.parent / row["path"]).convert("RGB")
        name = f"group {row['dup_group']}" if row["dup_group"] else f"image {number}"
        kinds = [("original", image)]
        kinds += zip(KINDS, make_all_copies(image), strict=True) if number % COPIED == 0 else []
        for index, (kind, version) in enumerate(kinds):
            path = folder / f"{number:05}-{index}.png"
            version.save(path)
            written[str(path)] = (name, kind)
    return written


def describe(name: str, pairs: list[search.Pair], truth: dict[str, tuple[str, str]], seconds: float) -> str:
    """Return a line of the table: precision over all pairs, recall of the pairs of an original and its copy."""
    right = [pair for pair in pairs if truth[pair.a][0] == truth[pair.b][0]]
    copies = {path for path, (_, kind) in truth.items() if kind != "original"}
    joined: dict[str, bool] = {}
    for pair in right:
        stems = {Path(path).stem.partition("-")[0] for path in (pair.a, pair.b)}
        for path in {pair.a, pair.b} & copies:
            other = pair.b if path == pair.a else pair.a
            if len(stems) == 1 and truth[other][1] == "original":
                joined[path] = True
    recalls = [np.mean([path in joined for path in copies if kind in ("", truth[path][1])]) for kind in ("", *KINDS)]
    precision = len(right) / len(pairs) if pairs else 1.0
    figures = " | ".join(f"{recall:.3f}" for recall in recalls)
    return f"| {name} | {len(pairs):,} | {precision:.3f} | {figures} | {seconds:.0f} s |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model")
    args = parser.parse_args()
    model = MedImageInsight.load(args.model)
    with tempfile.TemporaryDirectory() as folder:
        truth = write_images(args.table, args.images, args.split, Path(folder))
        with search.create_store(f"{folder}/store", identity=search.Identity.of(model)) as store:
            search.index_images(model, store, truth, ids=list(truth))
            print(f"{args.images:,} images of the split {args.split}, {len(truth):,} with copies, {model.name}\n")
            print(f"| pairs | number | precision | recall | {' | '.join(KINDS)} | time |")
            print(f"|{'---|' * (len(KINDS) + 5)}")
            print(describe("cosine 0.99", search.find_duplicates(store, limit=1_000_000), truth, 0))
            start = time.perf_counter()
            found = search.find_duplicate_clusters(store, model=model)
            seconds = time.perf_counter() - start
            cosine = search.find_duplicates(store, found.threshold, limit=1_000_000)
            print(describe(f"cosine {found.threshold:.3f}, measured", cosine, truth, 0))
            print(describe("the same, pixels confirmed", list(found.pairs), truth, seconds))
            print(f"\n{len(found.clusters):,} groups; {found.candidates:,} candidates, {found.rejected:,} rejected")


if __name__ == "__main__":
    main()
