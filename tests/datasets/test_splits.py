"""Splits drawn by patient, and sources of every kind as a config names them."""

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
    join_tables,
    known_part,
    read_sources,
    split_by_patient,
    split_rest,
)
from medimageinsight.errors import DatasetError
from medimageinsight.files import strict
from tests.datasets.made import png, shard_of, text, write_pair

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


def made(count: int, *, patients: int, prefix: str = "p") -> Table:
    samples = tuple(
        Sample(path=Path(f"/data/{prefix}{n}.png"), caption="c", patient_id=f"{prefix}{n % patients}")
        for n in range(count)
    )
    return Table(samples=samples, root=Path("/data"))


def by_patient(table: Table) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for sample in table:
        found.setdefault(sample.patient_id, set()).add(sample.split)
    return found


def test_a_patient_is_in_one_split_and_the_shares_are_near():
    table = split_by_patient(made(6000, patients=2000), THIRDS)
    splits = by_patient(table)
    assert all(len(one) == 1 for one in splits.values())
    counts = table.splits
    for split, fraction in THIRDS.items():
        assert counts[split] / 6000 == pytest.approx(fraction, abs=0.04)


def test_a_patients_split_stays_when_others_come_and_changes_with_the_seed():
    few, many = made(100, patients=100), made(300, patients=300)
    before, after = by_patient(split_by_patient(few, THIRDS)), by_patient(split_by_patient(many, THIRDS))
    assert all(after[patient] == split for patient, split in before.items())
    assert by_patient(split_by_patient(few, THIRDS, seed=1)) != before


def test_without_a_patient_each_picture_is_its_own_wherever_the_folder_lies():
    here = Table(samples=tuple(Sample(path=Path(f"/a/{n}.png"), caption="") for n in range(200)), root=Path("/a"))
    there = Table(samples=tuple(Sample(path=Path(f"/b/{n}.png"), caption="") for n in range(200)), root=Path("/b"))
    splits = [[sample.split for sample in split_by_patient(table, THIRDS)] for table in (here, there)]
    assert splits[0] == splits[1]
    assert set(splits[0]) == set(THIRDS)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.1, "val": -0.1}, {"": 1.0}])
def test_fractions_that_are_none(fractions):
    with pytest.raises(DatasetError) as caught:
        split_by_patient(made(3, patients=3), fractions)
    assert caught.value.code == "fractions_invalid"


@pytest.fixture
def folder(tmp_path):
    """One source of each kind."""
    for label in ("polyp", "ulcer"):
        (tmp_path / "colon" / label).mkdir(parents=True)
        (tmp_path / "colon" / label / "1.png").write_bytes(png(1))
    (tmp_path / "table.csv").write_text("path,text,split\ncolon/polyp/1.png,a polyp,val\n")
    write_pair(tmp_path, [("1", png(1), text(0, "x-ray chest Edema"))])
    (tmp_path / "shards").mkdir()
    shard_of(tmp_path / "shards" / "train-0.tar", range(3))
    shard_of(tmp_path / "shards" / "train-1.tar", range(3, 5))
    return tmp_path


SOURCES = [
    {"kind": "table", "path": "table.csv", "columns": {"caption": "text"}, "name": "hospital", "split": "train"},
    {"kind": "folder", "path": "colon", "template": "endoscopy colon {}"},
    {"kind": "tsv", "images": ["train_images.tsv"], "texts": ["train_text.tsv"], "split": "train"},
    {"kind": "shards", "path": "shards/train-*.tar", "split": "train"},
]


def sources(*changes: dict[str, object]) -> list[DataSource]:
    return [strict.build(DataSource, one, "source") for one in (*SOURCES, *changes)]


def test_sources_of_every_kind_are_one_table(folder):
    table = split_rest(read_sources(sources(), folder), {"train": 0.5, "val": 0.5})
    assert len(table) == 1 + 2 + 1 + 5
    assert [sample.source for sample in table] == ["hospital", "colon", "colon", "mine", *[""] * 5]
    assert table.samples[0].split == "val"
    assert {sample.split for sample in table.samples[3:]} == {"train"}
    assert all(sample.split in ("train", "val") for sample in table)
    assert table.ids[0] == "colon/polyp/1.png"
    assert table.root == folder


def test_what_is_wrong_with_any_source_is_in_the_list(folder):
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


def test_an_unknown_key_of_a_source_is_named(folder):
    with pytest.raises(strict.MappingError, match="source: unknown lables"):
        sources({"kind": "tsv", "lables": "x"})


def test_all_unknown_keys_are_found_at_once_however_deep():
    pytest.importorskip("torch", reason="a training config needs the train extra")
    from medimageinsight.train.config import TrainConfig

    config = {"name": "x", "sed": 1, "data": {"tabel": "x"}, "stages": [{"steps": 1}, {"step": 1}], "images": None}
    known, unknown = known_part(TrainConfig, config)
    assert unknown == ["config.sed", "config.data.tabel", "config.stages[1].step"]
    assert known == {"name": "x", "data": {}, "stages": [{"steps": 1}, {}], "images": None}
    assert known_part(TrainConfig, "no mapping") == ("no mapping", [])


def test_ids_and_names_agree_over_all_sources(folder):
    write_pair(folder, [("2", png(2), text(1, "x-ray chest Edema"))], "more")
    more = {"kind": "tsv", "images": ["more_images.tsv"], "texts": ["more_text.tsv"], "split": "val"}
    with pytest.raises(DatasetProblems) as caught:
        read_sources(sources(more), folder)
    assert caught.value.counts == {"class_id_mismatch": 1}


def test_a_picture_without_a_split_goes_where_its_patient_is():
    table = made(40, patients=8)
    first = replace(table.samples[0], split="test")
    rest = tuple(replace(one, split="") for one in table.samples[1:])
    drawn = split_rest(replace(table, samples=(first, *rest)), {"train": 0.5, "val": 0.5}, seed=3)
    of_patient = {
        one.patient_id: {other.split for other in drawn if other.patient_id == one.patient_id} for one in drawn
    }
    assert of_patient.pop(first.patient_id) == {"test"}
    assert all(len(splits) == 1 for splits in of_patient.values())
    assert set.union(*of_patient.values()) == {"train", "val"}
    assert drawn.samples[0] == first


def test_folders_that_lie_elsewhere_are_named_by_their_own_name(tmp_path):
    near, far = tmp_path / "configs" / "near", tmp_path / "far" / "colon"
    for folder in (near, far):
        for label in ("a", "b"):
            (folder / label).mkdir(parents=True)
            (folder / label / "1.png").write_bytes(png(1))
    given = [{"kind": "folder", "path": "near"}, {"kind": "folder", "path": str(far)}]
    both = read_sources([strict.build(DataSource, one, "source") for one in given], tmp_path / "configs")
    assert both.ids == ["near/a/1.png", "near/b/1.png", "colon/a/1.png", "colon/b/1.png"]
    alone = read_sources([strict.build(DataSource, given[0], "source")], tmp_path / "configs")
    assert alone.ids == both.ids[:2], "a further source does not rename, and so does not split anew, the others"
    assert both.as_split("val").ids == both.ids


def test_shards_are_found_by_every_kind_of_pattern(folder):
    for pattern in ("shards/train-*.tar", "shards/train-?.tar", "**/train-[01].tar", str(folder / "shards" / "*.tar")):
        (source,) = sources({"kind": "shards", "path": pattern})[-1:]
        assert len(read_sources([source], folder)) == 5, pattern


def test_a_field_of_another_kind_is_named(folder):
    given = {
        "kind": "table",
        "path": "table.csv",
        "columns": {"caption": "text"},
        "template": "x {}",
        "labels": "l.txt",
    }
    with pytest.raises(DatasetProblems) as caught:
        read_sources([strict.build(DataSource, given, "source")], folder)
    assert [one.place for one in caught.value.found] == ["table table.csv: labels", "table table.csv: template"]


def test_joined_tables_keep_their_names():
    a, b = made(2, patients=2, prefix="a"), made(3, patients=3, prefix="b")
    joined = join_tables([Table(a.samples, Path("/data/x")), Table(b.samples, Path("/data/y"))])
    assert (len(joined), joined.root, joined.others) == (5, Path("/data/x"), (Path("/data/y"),))
    assert join_tables([a]).as_split("test").splits == {"test": 2}
    with pytest.raises(DatasetError, match="at least one table"):
        join_tables([])


def test_a_source_survives_json():
    assert strict.build(DataSource, json.loads(json.dumps(SOURCES[2])), "source").images == ("train_images.tsv",)
