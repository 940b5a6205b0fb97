"""Which images the mark "unlike anything this model was checked on" finds, and how many it marks wrongly.

    python benchmarks/doubt.py --model BUNDLE --own TABLE [TABLE ...] --unseen TABLE [TABLE ...] --leave-one-out

The bundle has statistics (``mi2 statistics``), or they are measured on the split val of the own tables. Images of the
split test of the own tables are like the checked ones: their marks are false. Those of the other tables count where no
own table has their modality and anatomy. Natural images, pages of text, blank images, gradients and noise are read from
installed packages or made here. With ``--leave-one-out``, each source in turn is left out of the statistics: its test
images count as unseen, although the network was trained on it. Kinds that other sources have too are named.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medimageinsight import MedImageInsight
from medimageinsight.datasets import join_tables, read_table
from medimageinsight.export import measure_statistics
from medimageinsight.export.image_groups import fit_groups, group_images, mark_threshold
from medimageinsight.export.made_images import make_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from medimageinsight.datasets import Sample, Table

SIZE = 256  # pixels, of images that are made here
PARTS = 20  # of each natural image
NATURAL = "astronaut brick camera chelsea clock_motion coffee coins grass gravel hubble_deep_field moon motorcycle_left"


def main() -> None:
    """Print the shares of marked images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--own", type=Path, nargs="+", required=True)
    parser.add_argument("--unseen", type=Path, nargs="+", default=[])
    parser.add_argument("--per-kind", type=int, default=200, help="images of each unseen kind, at most (default 200)")
    parser.add_argument("--leave-one-out", action="store_true")
    options = parser.parse_args()
    model = MedImageInsight.load(options.model)
    own = [read_table(path) for path in options.own]
    statistics = model.statistics or measure_statistics(model, join_tables(own), split="val")

    def share(vectors: np.ndarray) -> float:
        return float(np.mean(statistics.unlike(vectors)))

    print("| images | count | marked |\n|---|---|---|")
    tests = [sample for table in own for sample in table.of_split("test")]
    tested = embed(model, tests)
    for source in sorted({sample.source for sample in tests}):
        rows = tested[[sample.source == source for sample in tests]]
        print(f"| own, test: {source} | {len(rows):,} | {share(rows):.1%} |")
    print(f"| **own, test: false marks** | {len(tested):,} | **{share(tested):.1%}** |")
    kinds = unseen_kinds(own, [read_table(path) for path in options.unseen], options.per_kind)
    vectors = {kind: embed(model, samples) for kind, samples in kinds.items()}
    print_groups(vectors, share, "unseen kinds")
    rng = np.random.default_rng(1)
    natural = {name: model.embed_images(images) for name, images in natural_images(rng).items()}
    print_groups(natural, share, "natural images")
    print_groups({name: model.embed_images(images) for name, images in blank_images(rng).items()}, share, "blank")
    print_groups({name: model.embed_images(images) for name, images in noise_images(rng).items()}, share, "noise")
    print_groups({name: model.embed_images(images) for name, images in other_images(rng).items()}, share, "made images")
    if options.leave_one_out:
        leave_one_out(model, own, tests, tested, statistics.level)


def embed(model: MedImageInsight, samples: Sequence[Sample]) -> np.ndarray:
    """Return the embeddings of samples, which can all be read."""
    return model.embed_images([sample.lazy_source() for sample in samples])


def print_groups(groups: dict[str, np.ndarray], share: Callable[[np.ndarray], float], name: str) -> None:
    """Print a line for each group, and one for all: of images, and the mean of groups."""
    if not groups:
        return
    for group, rows in groups.items():
        print(f"| {group} | {len(rows):,} | {share(rows):.1%} |")
    rows = np.concatenate(list(groups.values()))
    mean = np.mean([share(rows) for rows in groups.values()])
    print(f"| **{name}** (mean of {len(groups)} lines: {mean:.1%}) | {len(rows):,} | **{share(rows):.1%}** |")


def unseen_kinds(own: Iterable[Table], others: Iterable[Table], count: int) -> dict[str, list[Sample]]:
    """Return at most `count` samples of each modality and anatomy that no own table has."""
    known = {(sample.modality, sample.anatomy) for table in own for sample in table}
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for table in others:
        for sample in table:
            if (sample.modality, sample.anatomy) not in known:
                kinds[f"{sample.modality}, {sample.anatomy}"].append(sample)
    rng = np.random.default_rng(0)
    return {
        kind: [samples[index] for index in sorted(rng.permutation(len(samples))[:count])]
        for kind, samples in sorted(kinds.items())
    }


def leave_one_out(
    model: MedImageInsight, own: Sequence[Table], tests: list[Sample], tested: np.ndarray, level: float
) -> None:
    """Print, for statistics without one source, the marked test images of it and of the others."""
    checked = [sample for table in own for sample in table.of_split("val")]
    vectors, made = embed(model, checked), model.embed_images(make_images())
    print(
        "\n| source left out | count | marked | others, test: false marks | kinds of other sources too |"
        "\n|---|---|---|---|---|"
    )
    for source in sorted({sample.source for sample in checked}):
        stays = np.array([sample.source != source for sample in checked])
        rest = [sample for sample in checked if sample.source != source]
        groups, scores = fit_groups(
            vectors[stays], group_images(rest, vectors[stays]), [sample.patient_id for sample in rest], made
        )
        marked = groups.scores(tested) > mark_threshold(scores, level)
        left = np.array([sample.source == source for sample in tests])
        shared = {(s.modality, s.anatomy) for s in tests if s.source == source} & {
            (s.modality, s.anatomy) for s in rest
        }
        names = ", ".join(sorted(" ".join(kind) for kind in shared)) or "none"
        print(f"| {source} | {left.sum():,} | {marked[left].mean():.1%} | {marked[~left].mean():.1%} | {names} |")


def natural_images(rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return each photograph of scikit-learn and, where it is installed, scikit-image, and square parts of it."""
    from sklearn.datasets import load_sample_images

    images = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    try:
        import skimage
    except ImportError:
        print("scikit-image is not installed: two natural images only")
    else:
        folder = Path(skimage.__file__).parent / "data"
        paths = [path for name in NATURAL.split() for path in folder.glob(f"{name}.*")]
        images |= {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in paths}
    return {name: [image, *cut_parts(image, rng)] for name, image in sorted(images.items())}


def cut_parts(image: np.ndarray, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Yield random square parts of an image, at least 110 pixels wide."""
    for _ in range(PARTS - 1):
        size = int(rng.integers(110, min(image.shape[:2]) + 1))
        top, left = (int(rng.integers(0, length - size + 1)) for length in image.shape[:2])
        yield image[top : top + size, left : left + size]


def blank_images(rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return images of a single grey or colour."""
    grey = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in range(0, 256, 6)]
    colour = [np.full((SIZE, SIZE, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(40)]
    return {"blank, grey": grey, "blank, colour": colour}


def noise_images(rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return uniform, normal, coarse, and sparse noise."""

    def coarse(size: int, bands: int) -> np.ndarray:
        pixels = rng.integers(0, 256, (size, size, bands), dtype=np.uint8).repeat(3 // bands, axis=2)
        return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC))

    def normal(bands: int) -> np.ndarray:
        values = rng.uniform(30, 220) + rng.uniform(3, 60) * rng.standard_normal((SIZE, SIZE, bands))
        return np.clip(values, 0, 255).astype(np.uint8).repeat(3 // bands, axis=2)

    def sparse() -> np.ndarray:
        return np.where(rng.random((SIZE, SIZE, 1)) < rng.uniform(0.02, 0.3), 255, 0).astype(np.uint8).repeat(3, axis=2)

    return {
        "noise, uniform": [coarse(SIZE, bands) for bands in (1, 3) for _ in range(30)],
        "noise, normal": [normal(bands) for bands in (1, 3) for _ in range(20)],
        "noise, coarse (32 x 32)": [coarse(32, bands) for bands in (1, 3) for _ in range(15)],
        "noise, coarse (8 x 8)": [coarse(8, bands) for bands in (1, 3) for _ in range(15)],
        "noise, sparse": [sparse() for _ in range(30)],
    }


def other_images(rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return linear gradients and pages of random words."""

    def gradient() -> np.ndarray:
        angle, steps = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, SIZE)
        ramp = (np.cos(angle) * steps[:, np.newaxis] + np.sin(angle) * steps + 1.5) / 3
        first, last = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        return np.asarray(first + (last - first) * ramp[..., np.newaxis], dtype=np.uint8)

    def page() -> np.ndarray:
        colours = [(255, 0), (0, 230), (40, 210), (250, 60)][int(rng.integers(4))]
        image = Image.new("RGB", (480, 360), (colours[0],) * 3)
        draw, size = ImageDraw.Draw(image), int(rng.integers(10, 24))
        for top in range(5, 350, int(size * rng.uniform(1.2, 2))):
            words = ("".join(map(chr, rng.integers(97, 123, int(rng.integers(2, 9))))) for _ in range(9))
            draw.text((5, top), " ".join(words), fill=(colours[1],) * 3, font=ImageFont.load_default(size=size))
        return np.asarray(image)

    return {"gradients": [gradient() for _ in range(40)], "pages of text": [page() for _ in range(40)]}


if __name__ == "__main__":
    main()
