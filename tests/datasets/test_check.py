"""Checks before the first step: all problems of a dataset in one list, and leaks between splits."""

from __future__ import annotations

import pickle
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimageinsight.datasets import CheckSettings, DatasetProblems, Problems, Sample, Table, check_table, read_tsv
from medimageinsight.datasets.fingerprint import HASH_BITS, difference_hash, fingerprint, near_pairs
from medimageinsight.datasets.image_check import check_images
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from tests.datasets.sample_files import caption_json, make_image, png_bytes, write_tsv_pair

FULL = CheckSettings(near_distance=12, workers=2)


@pytest.fixture
def table(tmp_path):
    """A table of eight images of four patients in two splits, without problems."""
    samples = []
    for n in range(8):
        path = tmp_path / "images" / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png_bytes(n))
        split = "train" if n < 6 else "val"
        samples.append(
            Sample(path=path, caption=f"caption {n}", id=f"i{n}", source="s", split=split, patient_id=f"SECRET{n // 2}")
        )
    return Table(samples=tuple(samples), root=tmp_path)


def changed(table: Table, index: int, **changes: object) -> Table:
    samples = list(table.samples)
    samples[index] = replace(samples[index], **changes)
    return Table(samples=tuple(samples), root=table.root)


def counts(table: Table, settings: CheckSettings = FULL) -> dict[str, int]:
    problems = Problems()
    check_table(table, settings=settings, problems=problems)
    return dict(problems.counts)


def test_valid_table_has_no_problems(table):
    counts_done = []
    checked = check_table(table, settings=FULL, progress=counts_done.append)
    assert len(checked.fingerprints) == 8
    assert checked.near == ()
    assert counts_done == [8]


def test_reports_all_problems_by_kind_with_examples(table):
    for n in (0, 1):
        table.samples[n].path.unlink()
    table.samples[2].path.write_bytes(png_bytes(2)[:80])
    table.samples[3].path.write_text("not an image")
    table = changed(table, 4, caption="  ", id="i5")
    table = changed(table, 7, patient_id="SECRET0")
    with pytest.raises(DatasetProblems) as caught:
        check_table(table, settings=FULL)
    error = caught.value
    assert error.code == "dataset_problems"
    assert error.counts == {
        "image_missing": 2,
        "image_broken": 2,
        "caption_empty": 1,
        "id_duplicate": 1,
        "patient_in_two_splits": 1,
    }
    assert (
        "2 images that do not exist: copy them, or remove their rows [image_missing]: images/0.png; " in error.message
    )
    assert "images/2.png (image_truncated); images/3.png (image_not_an_image)" in error.message
    assert "images/0.png and images/7.png (train, val)" in error.message
    assert "SECRET" not in error.message
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.counts, copy.found) == (error.message, error.counts, error.found)


def test_counts_all_problems_of_a_kind_and_shows_five(tmp_path):
    samples = tuple(Sample(path=tmp_path / f"{n}.png", caption="c") for n in range(1500))
    with pytest.raises(
        DatasetProblems, match=r"1,500 images that do not exist.*: 0\.png; .*; and 1,495 more"
    ) as caught:
        check_table(Table(samples=samples, root=tmp_path), settings=CheckSettings(pictures=False))
    assert len(caught.value.found) == 1000
    assert len(caught.value.message) < 400
    with pytest.raises(KeyError):
        Problems().add("another kind", "location")


def test_finds_leaks_by_id_and_by_pixels_in_any_format(table):
    with Image.open(table.samples[0].path) as image:
        image.save(table.root / "images" / "7.bmp")
    leaking = changed(table, 7, path=table.root / "images" / "7.bmp", id="i0")
    assert counts(leaking) == {"picture_in_two_splits": 1, "id_in_two_splits": 1}


def test_same_patient_id_in_another_source_is_another_patient(table):
    assert counts(changed(table, 7, patient_id="SECRET0", source="other")) == {}
    assert counts(changed(table, 7, patient_id="", id="")) == {}


def test_near_duplicates_are_reported_and_are_problems_only_if_requested(table):
    path = table.root / "images" / "7.jpg"
    make_image(0, side=40).save(path, quality=70)
    leaking = changed(table, 7, path=path, label="x")
    checked = check_table(leaking, settings=FULL)
    (pair,) = checked.near
    assert (pair.a, pair.b, pair.splits, pair.same_label) == (
        "images/0.png",
        "images/7.jpg",
        ("train", "val"),
        False,
    )
    assert 0 <= pair.bits <= 12
    assert counts(leaking, replace(FULL, near_is_problem=True)) == {"near_duplicate_in_two_splits": 1}


def test_fingerprints_are_cached_until_a_file_changes(table, tmp_path, monkeypatch):
    opened = []

    def count_and_fingerprint(source: object) -> object:
        opened.append(source)
        return fingerprint(source)

    monkeypatch.setattr("medimageinsight.datasets.image_check.fingerprint", count_and_fingerprint)
    table.samples[3].path.write_text("not an image")
    cache = tmp_path / "cache.sqlite"
    first = check_images(table.samples, cache=cache)
    assert len(opened) == 8
    assert check_images(table.samples, cache=cache) == first
    assert opened[8:] == [table.samples[3].path], "an unreadable file is read again"
    table.samples[3].path.write_bytes(png_bytes(3))
    second = check_images(table.samples, cache=cache)
    assert opened[9:] == [table.samples[3].path]
    assert (first[3].code, second[3].code) == ("image_not_an_image", "")
    cache.write_bytes(cache.read_bytes()[:16] + b"damaged" * 500)
    assert check_images(table.samples, cache=cache) == second
    cache.write_bytes(b"")
    assert check_images(table.samples, cache=cache) == second


def test_rejects_an_invalid_cache_and_does_not_change_it(table, tmp_path):
    rows = tmp_path / "table.csv"
    rows.write_text("path,caption\n" * 100)
    held = tmp_path / "held.sqlite"
    check_images(table.samples, cache=held)
    with sqlite3.connect(held, isolation_level=None) as other:
        other.execute("begin exclusive")
        for cache in (rows, tmp_path, tmp_path / "none" / "cache.sqlite", held):
            with pytest.raises(ConfigError) as caught:
                check_images(table.samples, cache=cache)
            assert caught.value.code == "cache_unusable"
            assert str(tmp_path) not in caught.value.message
        other.execute("rollback")
    other.close()
    assert rows.read_text() == "path,caption\n" * 100
    assert len(check_images(table.samples, cache=held)) == 8


def test_checks_images_inside_a_tsv(tmp_path):
    rows = [
        ("1", png_bytes(1), caption_json(0, "a")),
        ("2", png_bytes(2)[:60], caption_json(0, "a")),
        ("3", b"", caption_json(0, "a")),
    ]
    images, texts = write_tsv_pair(tmp_path, rows)
    problems = Problems()
    check_table(read_tsv(images, texts, problems=problems), problems=problems)
    assert problems.counts == {"row_unreadable": 1, "rows_unpaired": 1, "image_broken": 1}
    images.write_text("1\t!!!!\n")
    texts.write_text(f"1\t{caption_json(0, 'a')}\n")
    with pytest.raises(DatasetProblems, match=r"train_images\.tsv at byte 2 \(image_bad_base64\)"):
        check_table(read_tsv(images, texts))


def test_difference_hash_survives_size_and_compression_and_differs_between_images(tmp_path):
    first, second = make_image(1, side=200), make_image(2, side=200)
    first.save(tmp_path / "first.jpg", quality=40)
    hashes = [difference_hash(image) for image in (first, first.resize((61, 90)), second)]
    hashes.append(fingerprint(tmp_path / "first.jpg").difference)
    rows = np.frombuffer(b"".join(hashes), np.uint8).reshape(4, -1)
    bits = {(i, j): count for i, j, count in near_pairs(rows, rows, HASH_BITS, block=3)}
    assert len(bits) == 16
    assert bits[0, 0] == 0
    assert bits[0, 1] <= 20 >= bits[0, 3]
    assert bits[0, 2] > 80


def test_near_pairs_match_a_plain_count():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (count, 32), dtype=np.uint8) for count in (30, 40))
    counted = [(i, j, int(np.unpackbits(a[i] ^ b[j]).sum())) for i in range(30) for j in range(40)]
    expected = {pair for pair in counted if pair[2] <= 120}
    found = near_pairs(a, b, 120, block=7)
    assert set(found) == expected
    assert [pair[2] for pair in found] == sorted(pair[2] for pair in found)


def test_medmix_has_no_leak_by_patient_or_pixels(shared):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from medimageinsight.datasets import read_table

    table = read_table(Path(shared) / "data" / "medmix" / "medmix.parquet")
    sampled = Table(samples=table.samples[::40], root=table.root)
    assert counts(sampled, CheckSettings(pictures=True)) == {}
    assert counts(table, CheckSettings(pictures=False)) == {}


def test_settings_are_read_from_a_config():
    settings = strict.build(CheckSettings, {"near_distance": 8, "cache": "x.sqlite"}, "check")
    assert settings == CheckSettings(near_distance=8, cache="x.sqlite")
