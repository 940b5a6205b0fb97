"""Splits by patient, and sources of every kind as in a config."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medimageinsight.datasets import (
    DatasetProblems,
    DataSource,
    Problems,
    Sample,
    Table,
    assign_missing_splits,
    join_tables,
    read_sources,
    split_by_patient,
)
from medimageinsight.errors import DatasetError
from medimageinsight.files import strict
from tests.datasets.sample_files import caption_json, png_bytes, write_image_shard, write_tsv_pair

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def make_table(count: int, *, patients: int, prefix: str = "p") -> Table:
    samples = tuple(
        Sample(path=Path(f"/data/{prefix}{n}.png"), caption="c", patient_id=f"{prefix}{n % patients}")
        for n in range(count)
    )
    return Table(samples=samples, root=Path("/data"))


def splits_by_patient(table: Table) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for sample in table:
        found.setdefault(sample.patient_id, set()).add(sample.split)
    return found


def test_each_patient_is_in_one_split_and_the_shares_are_close():
    table = split_by_patient(make_table(6000, patients=2000), FRACTIONS)
    splits = splits_by_patient(table)
    assert all(len(patient_splits) == 1 for patient_splits in splits.values())
    counts = table.splits
    for split, fraction in FRACTIONS.items():
        assert counts[split] / 6000 == pytest.approx(fraction, abs=0.04)


def test_split_of_a_patient_depends_on_the_seed_but_not_on_other_patients():
    few, many = make_table(100, patients=100), make_table(300, patients=300)
    before, after = (
        splits_by_patient(split_by_patient(few, FRACTIONS)),
        splits_by_patient(split_by_patient(many, FRACTIONS)),
    )
    assert all(after[patient] == split for patient, split in before.items())
    assert splits_by_patient(split_by_patient(few, FRACTIONS, seed=1)) != before


def test_images_without_a_patient_are_split_by_id_in_any_folder():
    first = Table(samples=tuple(Sample(path=Path(f"/a/{n}.png"), caption="") for n in range(200)), root=Path("/a"))
    second = Table(samples=tuple(Sample(path=Path(f"/b/{n}.png"), caption="") for n in range(200)), root=Path("/b"))
    splits = [[sample.split for sample in split_by_patient(table, FRACTIONS)] for table in (first, second)]
    assert splits[0] == splits[1]
    assert set(splits[0]) == set(FRACTIONS)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.1, "val": -0.1}, {"": 1.0}])
def test_rejects_invalid_fractions(fractions):
    with pytest.raises(DatasetError) as caught:
        split_by_patient(make_table(3, patients=3), fractions)
    assert caught.value.code == "fractions_invalid"


@pytest.fixture
def folder(tmp_path):
    """A folder with one source of each kind."""
    for label in ("polyp", "ulcer"):
        (tmp_path / "colon" / label).mkdir(parents=True)
        (tmp_path / "colon" / label / "1.png").write_bytes(png_bytes(1))
    (tmp_path / "table.csv").write_text("path,text,split\ncolon/polyp/1.png,a polyp,val\n")
    write_tsv_pair(tmp_path, [("1", png_bytes(1), caption_json(0, "x-ray chest Edema"))])
    (tmp_path / "shards").mkdir()
    write_image_shard(tmp_path / "shards" / "train-0.tar", range(3))
    write_image_shard(tmp_path / "shards" / "train-1.tar", range(3, 5))
    return tmp_path


SOURCES = [
    {"kind": "table", "path": "table.csv", "columns": {"caption": "text"}, "name": "hospital", "split": "train"},
    {"kind": "folder", "path": "colon", "template": "endoscopy colon {}"},
    {"kind": "tsv", "images": ["train_images.tsv"], "texts": ["train_text.tsv"], "split": "train"},
    {"kind": "shards", "path": "shards/train-*.tar", "split": "train"},
]


def sources(*changes: dict[str, object]) -> list[DataSource]:
    return [strict.build(DataSource, source, "source") for source in (*SOURCES, *changes)]


def test_reads_sources_of_every_kind_into_one_table(folder):
    table = assign_missing_splits(read_sources(sources(), folder), {"train": 0.5, "val": 0.5})
    assert len(table) == 1 + 2 + 1 + 5
    assert [sample.source for sample in table] == ["hospital", "colon", "colon", "mine", *[""] * 5]
    assert table.samples[0].split == "val"
    assert {sample.split for sample in table.samples[3:]} == {"train"}
    assert all(sample.split in ("train", "val") for sample in table)
    assert table.ids[0] == "colon/polyp/1.png"
    assert table.root == folder


def test_reports_the_problems_of_all_sources(folder):
    (folder / "table.csv").write_text("path,text\n../out.png,a\n")
    (folder / "train_text.tsv").write_text("1\t{]\n")
    problems = Problems()
    table = read_sources(
        sources({"kind": "folder", "path": "none"}, {"kind": "shards"}, {"kind": "shards", "path": "none-*.tar"}),
        folder,
        problems=problems,
    )
    assert problems.counts == {"table_invalid": 2, "json_invalid": 1, "config_value_invalid": 1, "file_missing": 1}
    assert len(table) == 7
    with pytest.raises(DatasetProblems, match=r"table table.csv .*outside the folder"):
        problems.raise_any()
    with pytest.raises(DatasetProblems, match="no sample in any"):
        read_sources([], folder)


def test_names_an_unknown_key_of_a_source(folder):
    with pytest.raises(strict.MappingError, match="source: unknown lables"):
        sources({"kind": "tsv", "lables": "x"})


def test_class_ids_must_agree_over_all_sources(folder):
    write_tsv_pair(folder, [("2", png_bytes(2), caption_json(1, "x-ray chest Edema"))], "more")
    more = {"kind": "tsv", "images": ["more_images.tsv"], "texts": ["more_text.tsv"], "split": "val"}
    with pytest.raises(DatasetProblems) as caught:
        read_sources(sources(more), folder)
    assert caught.value.counts == {"class_id_mismatch": 1}


def test_missing_split_is_that_of_the_patient():
    table = make_table(40, patients=8)
    first = replace(table.samples[0], split="test")
    rest = tuple(replace(sample, split="") for sample in table.samples[1:])
    assigned = assign_missing_splits(replace(table, samples=(first, *rest)), {"train": 0.5, "val": 0.5}, seed=3)
    splits = splits_by_patient(assigned)
    assert splits.pop(first.patient_id) == {"test"}
    assert all(len(patient_splits) == 1 for patient_splits in splits.values())
    assert set.union(*splits.values()) == {"train", "val"}
    assert assigned.samples[0] == first


def test_locations_in_other_roots_start_with_the_name_of_the_root(tmp_path):
    near, far = tmp_path / "configs" / "near", tmp_path / "far" / "colon"
    for folder in (near, far):
        for label in ("a", "b"):
            (folder / label).mkdir(parents=True)
            (folder / label / "1.png").write_bytes(png_bytes(1))
    given = [{"kind": "folder", "path": "near"}, {"kind": "folder", "path": str(far)}]
    both = read_sources([strict.build(DataSource, source, "source") for source in given], tmp_path / "configs")
    assert both.ids == ["near/a/1.png", "near/b/1.png", "colon/a/1.png", "colon/b/1.png"]
    alone = read_sources([strict.build(DataSource, given[0], "source")], tmp_path / "configs")
    assert alone.ids == both.ids[:2], "another source does not change the names and splits of the others"


def test_finds_shards_by_every_kind_of_pattern(folder):
    for pattern in ("shards/train-*.tar", "shards/train-?.tar", "**/train-[01].tar", str(folder / "shards" / "*.tar")):
        (source,) = sources({"kind": "shards", "path": pattern})[-1:]
        assert len(read_sources([source], folder)) == 5, pattern


def test_names_fields_of_another_kind(folder):
    given = {
        "kind": "table",
        "path": "table.csv",
        "columns": {"caption": "text"},
        "template": "x {}",
        "labels": "l.txt",
    }
    with pytest.raises(DatasetProblems) as caught:
        read_sources([strict.build(DataSource, given, "source")], folder)
    assert [problem.location for problem in caught.value.found] == [
        "table table.csv: labels",
        "table table.csv: template",
    ]


def test_joined_tables_keep_their_roots():
    a, b = make_table(2, patients=2, prefix="a"), make_table(3, patients=3, prefix="b")
    joined = join_tables([Table(a.samples, Path("/data/x")), Table(b.samples, Path("/data/y"))])
    assert (len(joined), joined.root, joined.others) == (5, Path("/data/x"), (Path("/data/y"),))
    with pytest.raises(DatasetError, match="at least one table"):
        join_tables([])


def test_source_is_read_from_json():
    assert strict.build(DataSource, json.loads(json.dumps(SOURCES[2])), "source").images == ("train_images.tsv",)
