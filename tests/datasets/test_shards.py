"""Webdataset shards: which members are read and which are refused, and damaged shards."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight import images
from medimageinsight.datasets import DatasetProblems, DataSource, Problems, check_table, read_shards, read_sources
from tests.datasets.sample_files import caption_json, png_bytes, write_image_shard, write_shard

if TYPE_CHECKING:
    from pathlib import Path


def test_members_of_one_name_form_one_sample(tmp_path):
    members = [
        ("a/0001.PNG", png_bytes(1)),
        ("a/0001.json", b'{"caption": "not this", "label": 3, "patient_id": "p", "split": "val", "source": "s"}'),
        ("a/0001.txt", "a chest film ä".encode()),
        ("a/0001.seg.npy", b"ignored"),
        ("0002.cls", b"7\n"),
        ("0002.jpg", png_bytes(2)),
        ("0002.json", b'{"modality": "x-ray", "anatomy": "chest"}'),
        ("0003.png", png_bytes(3)),
        ("0003.json", caption_json(0, "x-ray chest Edema").encode()),
    ]
    table = read_shards([write_shard(tmp_path / "one.tar", members)], split="train")
    first, second, third = table
    assert (first.id, first.caption, first.label, first.patient_id) == ("a/0001", "a chest film ä", "3", "p")
    assert (first.split, first.source) == ("val", "s")
    assert (second.caption, second.label, second.split, second.source) == ("x-ray chest", "7", "train", "")
    assert (third.caption, third.label, third.source) == ("x-ray chest Edema", "x-ray chest Edema", "mine")
    for sample, number in zip(table, (1, 2, 3), strict=True):
        assert (images.load(sample.image_source()) == images.load(png_bytes(number))).all()


def test_sample_name_ends_at_the_first_dot_that_no_number_follows(tmp_path):
    uid = "1.2.840.10008.5.1"
    members = [
        (f"{uid}.png", png_bytes(1)),
        (f"{uid}.txt", b"one"),
        ("2.seg.png", png_bytes(2)),
        ("2.jpg", png_bytes(3)),
        ("2.txt", b"two"),
    ]
    problems = Problems()
    path = write_shard(
        tmp_path / "dots.tar", [*members, ("scan.v2.png", png_bytes(4)), ("README", b"x"), ("3.npy", b"x")]
    )
    assert [sample.id for sample in read_shards([path], problems=problems)] == [uid, "2"]
    assert [str(problem) for problem in problems.found] == [
        "dots.tar: scan (no image; a sample's name ends at its first dot)"
    ]


def shard_of(folder, name, number, **fields):
    text = json.dumps({"caption": f"c{number}"} | fields).encode()
    return write_shard(
        folder / name, [(f"{name[:-4]}{number}.png", png_bytes(number)), (f"{name[:-4]}{number}.json", text)]
    )


def test_a_whole_number_is_one_id_in_every_spelling(tmp_path):
    for number, (name, patient_id) in enumerate((("train.tar", 7.0), ("val.tar", 7), ("test.tar", "7"))):
        shard_of(tmp_path, name, number, patient_id=patient_id, label=2.0, source=1)
    sources = [DataSource(kind="shards", path=f"{split}.tar", split=split) for split in ("train", "val", "test")]
    problems = Problems()
    table = read_sources(sources, tmp_path, problems=problems)
    assert {(sample.patient_id, sample.label, sample.source) for sample in table} == {("7", "2", "1")}
    check_table(table, problems=problems)
    assert problems.counts == {"patient_in_two_splits": 1}


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "a boolean"), ([7], "a list"), ({"a": 7}, "an object"), (1e999, "Infinity")]
)
@pytest.mark.parametrize("field", ["patient_id", "label", "finding", "split"])
def test_fields_of_other_types_are_reported(tmp_path, field, value, kind):
    problems = Problems()
    table = read_shards([shard_of(tmp_path, "train.tar", 0, **{field: value})], problems=problems)
    assert (len(table), problems.counts) == (0, {"json_invalid": 1})
    assert kind == "Infinity" or f"{field}: expected a text or a number, got {kind}" in str(problems)


def test_numbers_and_empty_values_of_fields(tmp_path):
    (sample,) = read_shards([shard_of(tmp_path, "a.tar", 0, patient_id=7.5, view=None, finding=" ", modality=-0.0)])
    assert (sample.patient_id, sample.view, sample.finding, sample.modality) == ("7.5", "", "", "0")


def test_reports_a_folder_as_an_invalid_shard(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    problems, ids = read_with_problems(tmp_path / "folder.tar")
    assert (ids, problems.counts) == ([], {"shard_invalid": 1})


def read_with_problems(*paths: Path) -> tuple[Problems, list[str]]:
    problems = Problems()
    return problems, [sample.id for sample in read_shards(paths, problems=problems)]


def special_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_refuses_hostile_members_with_their_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("medimageinsight.datasets.shards.MAX_IMAGE_BYTES", 10_000)
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        tar.addfile(special_member("link.png", tarfile.SYMTYPE, "/etc/passwd"))
        add("link.txt", b"x")
        tar.addfile(special_member("hard.png", tarfile.LNKTYPE, "good.png"))
        tar.addfile(special_member("pipe.png", tarfile.FIFOTYPE))
        add("../out.png", png_bytes(1))
        add("/abs.png", png_bytes(1))
        add("huge.png", b"x" * 10_001)
        add("twice.png", png_bytes(1))
        add("twice.jpg", png_bytes(1))
        tar.addfile(special_member("folder", tarfile.DIRTYPE))
        add("good.png", png_bytes(2))
        add("good.txt", b"fine")
    problems, ids = read_with_problems(path)
    assert ids == ["good"]
    assert problems.counts == {"member_refused": 7}
    assert {problem.detail for problem in problems.found} == {
        "not a regular file",
        "a path out of the shard",
        "more than 10,000 bytes",
        "a second member of its kind",
    }


def test_does_not_read_a_header_that_claims_a_large_size(tmp_path):
    info = tarfile.TarInfo("x.png")
    info.type, info.size = tarfile.XHDTYPE, 5 << 20
    (tmp_path / "pax.tar").write_bytes(info.tobuf() + b"0" * (6 << 20))
    problems, _ = read_with_problems(tmp_path / "pax.tar")
    assert problems.counts == {"shard_invalid": 1}


@pytest.mark.parametrize("cut", [1, 600, 5000, 20_000])
def test_detects_a_truncated_shard(tmp_path, cut):
    path = write_image_shard(tmp_path / "s.tar", range(20))
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[:-cut])
    problems, ids = read_with_problems(path)
    assert problems.counts["shard_invalid"] == 1
    assert len(ids) < 20


def test_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = write_image_shard(tmp_path / "s.tar", range(4))
    data = bytearray(path.read_bytes())
    position = data.index(b"0002.png")
    data[position : position + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    problems, ids = read_with_problems(path)
    assert problems.counts["shard_invalid"] == 1
    assert "0003" not in ids


def test_reports_all_problems_in_one_list(tmp_path):
    members = [
        ("1.png", png_bytes(1)),
        ("1.json", b"{SECRET"),
        ("2.png", png_bytes(2)),
        ("3.txt", b"alone"),
        ("4.png", png_bytes(4)),
        ("4.json", b'{"class_id": 0, "class_name": "a"}'),
        ("5.png", png_bytes(5)),
        ("5.json", b'{"class_id": 0, "class_name": "b"}'),
        ("4.png", png_bytes(4)),
        ("4.txt", b"again"),
    ]
    whole = write_shard(tmp_path / "s.tar", members)
    zipped = tmp_path / "z.tar.gz"
    with tarfile.open(zipped, "w:gz"):
        pass
    with pytest.raises(DatasetProblems) as caught:
        read_shards([whole, zipped, tmp_path / "none.tar"])
    assert caught.value.counts == {
        "json_invalid": 1,
        "caption_empty": 1,
        "rows_unpaired": 1,
        "class_id_mismatch": 1,
        "id_duplicate": 1,
        "shard_invalid": 1,
        "file_missing": 1,
    }
    assert "z.tar.gz (compressed: unpack it to a plain tar)" in caught.value.message
    assert "SECRET" not in caught.value.message
    with pytest.raises(DatasetProblems, match=r"shards \(none\)"):
        read_shards([])


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=30)), max_size=4), st.integers(0, 12_000)
)
def test_damaged_shards_are_problems_and_raise_no_other_error(tmp_path_factory, changes, cut):
    folder = tmp_path_factory.mktemp("shard")
    path = write_image_shard(folder / "s.tar", range(3))
    data = bytearray(path.read_bytes()[: max(cut, 512)])
    for position, value in changes:
        data[position : position + len(value)] = value
    path.write_bytes(data)
    problems, ids = read_with_problems(path)
    assert problems or ids == ["0000", "0001", "0002"]
