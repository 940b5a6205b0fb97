"""Training batches: independent of the number of processes and workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the train extra")

from medimageinsight.datasets import Sample, Table
from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.preprocess import Preprocessing
from medimageinsight.train.batches import BatchMaker, ImageLoader
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.config import CaptionAugmentation, DataConfig, ImageAugmentation
from medimageinsight.train.image_augmentation import PixelAugmentation
from medimageinsight.train.images_in_memory import MemoryImages
from medimageinsight.train.images_on_disk import DiskImages
from medimageinsight.train.prefetch import Prefetcher

SIZE = 16
PREPROCESSING = Preprocessing(image_size=(SIZE, SIZE), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
AUGMENTATION = PixelAugmentation(crop_area=(0.6, 1.0), trivial=True, erase=0.5)


class CharacterTokenizer:
    """A tokenizer with one id per character."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[ord(character) for character in text] for text in texts]

    def pad(self, ids: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        length = max(map(len, ids))
        padded = np.array([row + [0] * (length - len(row)) for row in ids])
        return padded, (padded > 0).astype(np.int64)


@pytest.fixture
def table(tmp_path):
    samples = []
    for n in range(10):
        small = np.random.default_rng(n).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((20, 24), Image.Resampling.BICUBIC).save(tmp_path / f"{n}.png")
        samples.append(Sample(path=tmp_path / f"{n}.png", caption=f"caption {n % 3}", label=str(n % 3), source="s"))
    return Table(samples=tuple(samples), root=tmp_path)


def create_maker(table: Table, loader: ImageLoader, **processes: int) -> BatchMaker:
    """Return a maker of batches of four samples."""
    writer = CaptionWriter(table.samples, CaptionAugmentation())
    settings = {"batch_size": 4, "seed": 1, "data": DataConfig(table="")} | processes
    return BatchMaker(table, writer, CharacterTokenizer(), PREPROCESSING, loader, **settings)


def create_disk_maker(table: Table, *, augmentation=AUGMENTATION, workers: int = 4, **processes: int) -> BatchMaker:
    return create_maker(table, DiskImages(table, SIZE, augmentation, seed=1, workers=workers), **processes)


def create_memory_maker(table: Table, **processes: int) -> BatchMaker:
    return create_maker(table, MemoryImages(table.samples, SIZE, ImageAugmentation(), seed=1, **processes), **processes)


def test_batch_depends_only_on_step(table):
    maker = create_disk_maker(table, workers=3)
    batches = [maker(step) for step in (0, 1, 5)]
    other_maker = create_disk_maker(table, workers=1)
    for step, batch in zip((5, 1, 0), reversed(batches), strict=True):
        other = other_maker(step)
        assert torch.equal(batch.pixel_values, other.pixel_values)
        assert torch.equal(batch.input_ids, other.input_ids)
        assert torch.equal(batch.positives, other.positives)
    assert not torch.equal(batches[0].pixel_values, batches[1].pixel_values)
    assert batches[0].pixel_values.shape == (4, 3, 16, 16)
    assert batches[0].pixel_values.is_contiguous(memory_format=torch.channels_last)


def test_batch_is_independent_of_folder(table, tmp_path):
    before = create_disk_maker(table)(0)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    moved = [replace(sample, path=sample.path.rename(folder / sample.path.name)) for sample in table]
    after = create_disk_maker(Table(samples=tuple(moved), root=folder))(0)
    assert torch.equal(before.pixel_values, after.pixel_values)


def test_processes_make_parts_of_one_batch(table):
    whole = create_disk_maker(table)(7)
    parts = [create_disk_maker(table, rank=rank, world_size=2)(7) for rank in range(2)]
    assert torch.equal(torch.cat([part.pixel_values for part in parts]), whole.pixel_values)
    assert all(torch.equal(part.positives, whole.positives) for part in parts)
    assert torch.equal(torch.cat([part.input_ids for part in parts]), whole.input_ids)
    with pytest.raises(ConfigError, match="multiple of the 3 processes, got 4") as caught:
        create_disk_maker(table, world_size=3)
    assert caught.value.code == "batch_uneven"


def test_images_without_augmentation_are_preprocessed_as_for_inference(table):
    from medimageinsight import images
    from medimageinsight.preprocess import preprocess

    maker = create_disk_maker(table, augmentation=PixelAugmentation())
    batch = maker(0)
    for index, pixels in zip(maker.sample_indices(0), batch.pixel_values, strict=True):
        expected = preprocess(images.open(table.samples[index].path), PREPROCESSING)
        np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)


def test_image_that_breaks_during_training_is_reported(table):
    maker = create_disk_maker(table)
    table.samples[maker.sample_indices(0)[0]].path.write_bytes(b"")
    with pytest.raises(DatasetError, match="image_empty"):
        maker(0)
    maker.close()


def test_processes_make_parts_of_one_batch_in_memory(table):
    whole = create_memory_maker(table)(3)
    parts = [create_memory_maker(table, rank=rank, world_size=2)(3) for rank in range(2)]
    assert torch.allclose(torch.cat([part.pixel_values for part in parts]), whole.pixel_values, atol=1e-5)
    assert torch.equal(parts[1].positives, whole.positives)


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_prefetcher_preserves_order(depth):
    with Prefetcher(lambda step: step, 2, 8, depth=depth) as batches:
        assert list(batches) == [2, 3, 4, 5, 6, 7]
    with Prefetcher(lambda step: step, 2, 2, depth=depth) as batches:
        assert list(batches) == []
