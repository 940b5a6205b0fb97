"""Batches of pictures that stay on disk: the same whatever the number of processes and workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the train extra")

from medimageinsight.datasets import Sample, Table
from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.preprocess import Preprocessing
from medimageinsight.train.augment_pixels import PixelAugmentation
from medimageinsight.train.batches import drawn_samples
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.config import CaptionAugmentation, DataConfig, ImageAugmentation
from medimageinsight.train.data import BatchMaker, Prefetcher
from medimageinsight.train.data_disk import DiskBatchMaker

PREPROCESSING = Preprocessing(image_size=(16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
CHANGES = PixelAugmentation(crop_area=(0.6, 1.0), trivial=True, erase=0.5)


class Letters:
    """A tokenizer of one id a letter."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]

    def pad(self, ids: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        length = max(map(len, ids))
        padded = np.array([one + [0] * (length - len(one)) for one in ids])
        return padded, (padded > 0).astype(np.int64)


@pytest.fixture
def table(tmp_path):
    samples = []
    for n in range(10):
        small = np.random.default_rng(n).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((20, 24), Image.Resampling.BICUBIC).save(tmp_path / f"{n}.png")
        samples.append(Sample(path=tmp_path / f"{n}.png", caption=f"caption {n % 3}", label=str(n % 3), source="s"))
    return Table(samples=tuple(samples), root=tmp_path)


def maker(table, **changes):
    writer = CaptionWriter(table.samples, CaptionAugmentation())
    settings = {"batch_size": 4, "seed": 1, "augmentation": CHANGES, "data": DataConfig(table="")} | changes
    return DiskBatchMaker(table, writer, Letters(), PREPROCESSING, **settings)


def test_a_batch_depends_on_the_step_alone(table):
    ahead = maker(table, workers=3)
    first = [ahead(step) for step in (0, 1, 5)]
    again = maker(table, workers=1)
    for step, batch in zip((5, 1, 0), reversed(first), strict=True):
        other = again(step)
        assert torch.equal(batch.pixel_values, other.pixel_values)
        assert torch.equal(batch.input_ids, other.input_ids)
        assert torch.equal(batch.positives, other.positives)
    assert not torch.equal(first[0].pixel_values, first[1].pixel_values)
    assert first[0].pixel_values.shape == (4, 3, 16, 16)
    assert first[0].pixel_values.is_contiguous(memory_format=torch.channels_last)


def test_where_the_folder_lies_changes_nothing(table, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = [replace(one, path=one.path.rename(other / one.path.name)) for one in table]
    assert maker(table).ids == maker(Table(samples=tuple(moved), root=other)).ids


def test_processes_make_the_parts_of_one_batch(table):
    whole = maker(table)(7)
    parts = [maker(table, rank=rank, world=2)(7) for rank in range(2)]
    assert torch.equal(torch.cat([part.pixel_values for part in parts]), whole.pixel_values)
    assert all(torch.equal(part.positives, whole.positives) for part in parts)
    assert torch.equal(torch.cat([part.input_ids for part in parts]), whole.input_ids)
    with pytest.raises(ConfigError) as caught:
        maker(table, world=3)
    assert caught.value.code == "batch_uneven"


def test_without_changes_pictures_are_those_of_inference(table):
    from medimageinsight import images
    from medimageinsight.preprocess import preprocess

    made = maker(table, augmentation=PixelAugmentation())
    batch = made(0)
    for index, pixels in zip(drawn_samples(made, 0), batch.pixel_values, strict=True):
        expected = preprocess(images.open(table.samples[index].path), PREPROCESSING)
        np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)


def test_a_picture_that_breaks_while_it_trains_is_named(table):
    made = maker(table)
    table.samples[drawn_samples(made, 0)[0]].path.write_bytes(b"")
    with pytest.raises(DatasetError, match="image_empty"):
        made(0)
    made.close()


def test_batches_of_a_set_in_memory_are_shared_too(table):
    writer = CaptionWriter(table.samples, CaptionAugmentation())

    def memory(**changes):
        settings = {"batch_size": 4, "seed": 1, "data": DataConfig(table=""), "augmentation": ImageAugmentation()}
        return BatchMaker(table.samples, writer, Letters(), PREPROCESSING, **settings | changes)

    whole, parts = memory()(3), [memory(rank=rank, world=2)(3) for rank in range(2)]
    assert torch.allclose(torch.cat([part.pixel_values for part in parts]), whole.pixel_values, atol=1e-5)
    assert torch.equal(parts[1].positives, whole.positives)


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_batches_come_in_order_however_many_wait(depth):
    with Prefetcher(lambda step: step, 2, 8, depth=depth) as batches:
        assert list(batches) == [2, 3, 4, 5, 6, 7]
    with Prefetcher(lambda step: step, 2, 2, depth=depth) as batches:
        assert list(batches) == []
