"""TSVs of the original format: read without conversion, every problem with its line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight import images
from medimageinsight.datasets import DatasetProblems, Problems, Sample, read_tsv, write_tsv
from medimageinsight.datasets.line_offsets import line_offsets
from medimageinsight.errors import ImageError
from tests.datasets.sample_files import caption_json, png_bytes, write_tsv_pair

if TYPE_CHECKING:
    from pathlib import Path

EDEMA, NORMAL = "x-ray chest Edema", "x-ray chest No Finding"
ROWS = [
    ("a/1.png", png_bytes(1), caption_json(0, EDEMA)),
    ("a/2.png", png_bytes(2), caption_json(1, NORMAL)),
    ("a/3.png", png_bytes(3), caption_json(0, EDEMA)),
]


def problem_counts(problems: Problems) -> dict[str, int]:
    return dict(problems.counts)


def test_reads_images_from_their_position_in_the_file(tmp_path):
    table = read_tsv(*write_tsv_pair(tmp_path, ROWS), split="train")
    assert [sample.id for sample in table] == ["a/1.png", "a/2.png", "a/3.png"] == table.ids
    assert {(sample.caption, sample.label, sample.source, sample.split) for sample in table} == {
        (EDEMA, EDEMA, "mine", "train"),
        (NORMAL, NORMAL, "mine", "train"),
    }
    for sample, (_, data, _) in zip(table, ROWS, strict=True):
        assert (images.load(sample.image_source()) == images.load(data)).all()


def test_reads_windows_line_breaks_a_byte_order_mark_and_blank_lines(tmp_path):
    pair = write_tsv_pair(tmp_path, ROWS)
    for path in pair:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").rstrip(b"\r\n"))
    pair[1].write_bytes(pair[1].read_bytes() + b"\r\n\r\n")
    assert read_tsv(*pair).ids == ["a/1.png", "a/2.png", "a/3.png"]
    assert all(images.load(sample.image_source()).shape == (24, 24, 3) for sample in read_tsv(*pair))


def test_reads_texts_in_another_order_and_quoted_by_a_spreadsheet(tmp_path):
    pair = write_tsv_pair(tmp_path, ROWS)
    quoted = [f'{key}\t"{text.replace(chr(34), chr(34) * 2)}"\n' for key, _, text in reversed(ROWS)]
    pair[1].write_text("".join(quoted))
    assert [sample.caption for sample in read_tsv(*pair)] == [EDEMA, NORMAL, EDEMA]


def test_captions_have_no_label_and_optional_keys_are_read(tmp_path):
    text = json.dumps({"captions": ["", "a chest film"], "patient_id": 7, "modality": "x-ray", "queries": ["ignored"]})
    (sample,) = read_tsv(*write_tsv_pair(tmp_path, [("1", png_bytes(1), text)]))
    assert (sample.caption, sample.label, sample.patient_id, sample.modality) == ("a chest film", "", "7", "x-ray")
    assert sample.source == ""


def test_reads_several_pairs_and_checks_the_label_file(tmp_path):
    first = write_tsv_pair(tmp_path, ROWS[:2], "one")
    second = write_tsv_pair(tmp_path, ROWS[2:], "two")
    labels = tmp_path / "labels.txt"
    labels.write_text(f"{EDEMA}\n{NORMAL}\n")
    images_, texts = zip(first, second, strict=True)
    assert len(read_tsv(images_, texts, label_file=labels)) == 3
    labels.write_text(f"{NORMAL}\n")
    with pytest.raises(DatasetProblems) as caught:
        read_tsv(images_, texts, label_file=labels)
    assert caught.value.code == "dataset_problems"
    assert caught.value.counts == {"class_id_mismatch": 3}
    assert "one_text.tsv line 1 (id 0 has another name in the label file)" in caught.value.message
    assert "one_text.tsv line 2 (id 1, the label file has 1 lines)" in caught.value.message


def test_reports_all_problems_with_lines_and_without_texts(tmp_path):
    rows = [
        ("1", png_bytes(1), caption_json(0, EDEMA)),
        ("2", png_bytes(2), '{"class_id": 0, "class_name": SECRET}'),
        ("3", png_bytes(3), caption_json(0, "another name")),
        ("4", png_bytes(4), caption_json(5, EDEMA)),
        ("5", png_bytes(5), caption_json(0, "")),
        ("6", png_bytes(6), "[]"),
        ("7", png_bytes(7), json.dumps({"class_id": True, "class_name": "x", "task": "classification"})),
        ("1", png_bytes(8), caption_json(0, EDEMA)),
        ("9", png_bytes(9), caption_json(0, EDEMA, "other source")),
    ]
    pair = write_tsv_pair(tmp_path, rows)
    pair[0].write_bytes(pair[0].read_bytes() + b"no tab here\n10\tQUJD\n\tQUJD\n")
    pair[1].write_text(pair[1].read_text() + f"11\t{caption_json(0, EDEMA)}\n")
    problems = Problems()
    table = read_tsv(*pair, problems=problems)
    assert problem_counts(problems) == {
        "json_invalid": 3,
        "class_id_mismatch": 2,
        "caption_empty": 1,
        "id_duplicate": 2,
        "row_unreadable": 2,
        "rows_unpaired": 2,
    }
    with pytest.raises(DatasetProblems) as caught:
        problems.raise_any()
    message = caught.value.message
    assert re.search(r"train_text.tsv line 2 \(column \d+: Expecting value\)", message)
    assert "train_images.tsv line 10 (no tab after the id)" in message
    assert "SECRET" not in message
    assert [sample.id for sample in table] == ["1", "3", "4", "9"]
    assert "train_text.tsv (1 texts without an image)" in message


def test_whole_numbers_are_class_ids_and_patients_in_every_spelling(tmp_path):
    common = {"class_name": "x", "source": "s", "task": "classification"}
    rows = [{"class_id": 0.0, "patient_id": 7.0}, {"class_id": 0, "patient_id": "7"}]
    files = write_tsv_pair(
        tmp_path, [(str(number), png_bytes(number), json.dumps(common | row)) for number, row in enumerate(rows)]
    )
    assert [sample.patient_id for sample in read_tsv(*files)] == ["7", "7"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"class_id": 0.5}, "class_id: expected an integer of 0 or more"),
        ({"class_id": True}, "class_id: expected an integer of 0 or more"),
        ({"class_id": -1.0}, "class_id: expected an integer of 0 or more"),
        ({"patient_id": [7]}, "patient_id: expected a text or a number, got a list"),
        ({"view": {"a": 1}}, "view: expected a text or a number, got an object"),
    ],
)
def test_values_of_other_types_are_reported(tmp_path, row, message):
    text = json.dumps({"class_id": 0, "class_name": "x", "source": "s"} | row)
    problems = Problems()
    assert not len(read_tsv(*write_tsv_pair(tmp_path, [("1", png_bytes(1), text)]), problems=problems))
    assert message in str(problems)


def test_reports_missing_files(tmp_path):
    images_, texts = write_tsv_pair(tmp_path, ROWS)
    with pytest.raises(DatasetProblems, match=r"none.tsv"):
        read_tsv(images_, tmp_path / "none.tsv")
    with pytest.raises(DatasetProblems, match="1 image files and 2 text files"):
        read_tsv(images_, [texts, texts])
    with pytest.raises(DatasetProblems, match=r"labels\.txt"):
        read_tsv(images_, texts, label_file=tmp_path / "labels.txt")


def test_rejects_images_of_a_file_truncated_later(tmp_path):
    images_, texts = write_tsv_pair(tmp_path, ROWS)
    last = read_tsv(images_, texts).samples[-1]
    images_.write_bytes(images_.read_bytes()[:-20])
    with pytest.raises(ImageError) as caught:
        last.image_source()
    assert caught.value.code == "image_truncated"
    images_.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        last.image_source()


def test_line_offsets_do_not_depend_on_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("medimageinsight.datasets.line_offsets._CHUNK", 7)
    lines = [b"x" * n for n in (0, 6, 7, 8, 13, 1)]
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(lines) + b"\n")
    starts = line_offsets(path)
    assert np.diff(starts).tolist() == [len(line) + 1 for line in lines]
    path.write_bytes(b"")
    assert line_offsets(path).tolist() == [0]


IDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda x: x == x.strip()
)
WORDS = IDS


@given(st.lists(st.tuples(IDS, WORDS, WORDS, WORDS), min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_reads_what_was_written(tmp_path_factory, rows):
    folder: Path = tmp_path_factory.mktemp("tsv")
    samples = []
    for number, (key, caption, patient, view) in enumerate(rows):
        path = folder / f"{number}.png"
        path.write_bytes(png_bytes(number, side=6))
        samples.append(Sample(path=path, caption=caption, id=key, source="s", patient_id=patient, view=view))
    names = [folder / name for name in ("images.tsv", "text.tsv", "labels.txt")]
    classes = write_tsv(samples, *names)
    table = read_tsv(*names[:2], label_file=names[2])
    assert classes == list(dict.fromkeys(caption for _, caption, _, _ in rows))
    for sample, read in zip(samples, table, strict=True):
        assert (read.id, read.caption, read.label) == (sample.id, sample.caption, sample.caption)
        assert (read.patient_id, read.view, read.source) == (sample.patient_id, sample.view, "s")
        assert read.image_source() == sample.path.read_bytes()


def test_second_split_uses_the_class_ids_of_the_first(tmp_path):
    first, second = ([make_sample(tmp_path, n, caption) for n, caption in enumerate(names)] for names in ("ab", "cba"))
    labels = tmp_path / "labels.txt"
    classes = write_tsv(first, tmp_path / "i0.tsv", tmp_path / "t0.tsv", labels)
    assert write_tsv(second, tmp_path / "i1.tsv", tmp_path / "t1.tsv", labels, classes=classes) == ["a", "b", "c"]
    images_, texts = [tmp_path / "i0.tsv", tmp_path / "i1.tsv"], [tmp_path / "t0.tsv", tmp_path / "t1.tsv"]
    assert len(read_tsv(images_, texts, label_file=labels)) == 5


def make_sample(folder: Path, number: int, caption: str) -> Sample:
    path = folder / f"{number}.png"
    path.write_bytes(png_bytes(number, side=6))
    return Sample(path=path, caption=caption, id=f"{number}", source="s")


@pytest.mark.parametrize(("key", "caption"), [("a\tb", "c"), (" a", "c"), ("a", "two\nlines"), ("a", " ")])
def test_refuses_to_write_ids_and_captions_that_the_format_cannot_store(tmp_path, key, caption):
    (tmp_path / "1.png").write_bytes(png_bytes(1))
    sample = Sample(path=tmp_path / "1.png", caption=caption, id=key)
    with pytest.raises(ValueError, match="expected"):
        write_tsv([sample], tmp_path / "i.tsv", tmp_path / "t.tsv", tmp_path / "l.txt")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_reads_any_bytes_as_rows_or_problems(tmp_path_factory, images_, texts):
    folder = tmp_path_factory.mktemp("tsv")
    (folder / "i.tsv").write_bytes(images_)
    (folder / "t.tsv").write_bytes(texts)
    problems = Problems()
    table = read_tsv(folder / "i.tsv", folder / "t.tsv", problems=problems)
    assert not table.samples or table.ids
