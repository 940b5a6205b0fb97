"""Groups of copies of one image, in both kinds of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from medimageinsight import search
from medimageinsight.search.image_match import MIN_CORRELATION, correlate, reduce_image
from tests.search.sample_items import code_of, vectors

if TYPE_CHECKING:
    from pathlib import Path

ALIKE = vectors(1)[0]  # the embedding of every image here, as of a model that distinguishes nothing


def make_image(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return smooth noise on the bright disc that all images share."""
    noise = np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)
    texture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    disc = Image.new("L", size)
    disc.paste(200, (20, 20, size[0] - 20, size[1] - 20))
    return Image.blend(disc.filter(ImageFilter.GaussianBlur(8)), texture, 0.3)


@pytest.fixture
def write(store: search.Store, tmp_path: Path):
    """Return a function that writes an image file and adds it to the store under its stem."""

    def add(name: str, image: Image.Image, **metadata: search.records.Value) -> None:
        image.save(tmp_path / name)
        path = tmp_path / name
        store.add([search.Item(id=path.stem, path=str(path), embedding=ALIKE, metadata=metadata)])

    return add


def ids_of(found: search.Duplicates) -> list[list[str]]:
    return [[image.id for image in cluster] for cluster in found.clusters]


def test_groups_copies_and_keeps_the_largest(store: search.Store, write) -> None:
    for number in range(4):
        write(f"other{number}.png", make_image(number + 10))
    original = make_image(0)
    _, half, cropped = search.make_copies(original)
    write("a-half.png", half)
    write("b-cropped.png", cropped)
    write("c-original.jpg", original)
    assert len(search.find_duplicates(store)) == 7 * 6 // 2  # the embeddings alone
    found = search.find_duplicate_clusters(store, threshold=0.99)
    assert ids_of(found)[0][0] == "c-original"
    assert [set(ids) for ids in ids_of(found)] == [{"a-half", "b-cropped", "c-original"}]
    assert [image.keep for image in found.clusters[0]] == [True, False, False]
    assert (found.clusters[0][0].width, found.clusters[0][0].height) == (160, 120)
    assert (found.candidates, len(found.pairs) + found.rejected, found.unread) == (21, 21, 0)
    assert len(search.find_duplicate_clusters(store, threshold=0.99, pixels=False).clusters[0]) == 7


def test_groups_that_cross_values_of_a_column(store: search.Store, write) -> None:
    for number, splits in enumerate([("train", "test"), ("train", "train"), ("val", "test", "test")]):
        for index, split in enumerate(splits):
            write(f"{number}{index}.png", make_image(number), split=split)
    write("unlabelled.png", make_image(1))
    found = search.find_duplicate_clusters(store, threshold=0.99, between="split", keep="test")
    assert sorted(ids_of(found)) == [["01", "00"], ["21", "22", "20"]]
    assert [(crossing.values, crossing.clusters, crossing.pairs) for crossing in found.crossings] == [
        (("test", "train"), 1, 1),
        (("test", "val"), 1, 2),
    ]
    assert code_of(lambda: search.find_duplicate_clusters(store, threshold=0.9, between="fold")) == "column_unknown"
    assert code_of(lambda: search.find_duplicate_clusters(store, threshold=0.9, keep="test")) == "keep_invalid"


def test_images_without_a_readable_file(store: search.Store, write) -> None:
    write("a.png", make_image(0))
    store.add([search.Item(id="b", path="missing.png", embedding=ALIKE)])
    found = search.find_duplicate_clusters(store, threshold=0.99)
    assert (ids_of(found), found.unread, found.clusters[0][1].width) == ([["a", "b"]], 1, None)
    assert code_of(lambda: search.find_duplicate_clusters(store)) == "duplicates_uncalibrated"


def test_reports_that_there_were_more_candidates(store: search.Store, write, monkeypatch) -> None:
    for name in "abc":
        write(f"{name}.png", make_image(0))
    assert not search.find_duplicate_clusters(store, threshold=0.99).candidates_truncated
    monkeypatch.setattr("medimageinsight.search.duplicate_clusters.MAX_CANDIDATES", 2)
    found = search.find_duplicate_clusters(store, threshold=0.99)
    assert (found.candidates, found.candidates_truncated) == (2, True)


def test_identical_images_without_details_are_copies(store: search.Store, write) -> None:
    write("a.png", Image.new("L", (80, 80), 7))
    write("b.png", Image.new("L", (80, 80), 7))
    write("c.png", Image.new("L", (80, 80), 200))
    assert ids_of(search.find_duplicate_clusters(store, threshold=0.99)) == [["a", "b"]]


def test_a_shared_mask_does_not_make_different_images_copies() -> None:
    disc = Image.new("L", (160, 160))
    ImageDraw.Draw(disc).ellipse((25, -10, 135, 170), fill=255)
    scans = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).normal(150, 10, (24, 24)).clip(0, 255).astype(np.uint8)
        texture = Image.fromarray(noise).resize(disc.size, Image.Resampling.BICUBIC)
        scans.append(Image.composite(texture, Image.new("L", disc.size), disc))
    small = [reduce_image(scan) for scan in (*scans, *search.make_copies(scans[0]))]
    correlations = correlate([(small[0], other) for other in small[1:]])
    assert correlations[0] < MIN_CORRELATION - 0.1
    assert (correlations[1:] > MIN_CORRELATION).all()
