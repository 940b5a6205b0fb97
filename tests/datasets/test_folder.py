"""Folders of labelled images; nothing is opened, so any file counts as an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from medimageinsight.datasets import Sample, read_folder
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from pathlib import Path


def write_files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    return root


def test_folders_are_labels_and_files_are_sorted_images(tmp_path):
    root = write_files(tmp_path / "colon", "polyp/b.png", "blood_clot/1.png", "polyp/a.png")
    table = read_folder(root, template="endoscopy colon {}")
    assert table.root == root
    assert table.splits == {"": 3}
    assert [sample.path for sample in table] == [root / "blood_clot/1.png", root / "polyp/a.png", root / "polyp/b.png"]
    assert table.samples[0] == Sample(
        path=root / "blood_clot/1.png", caption="endoscopy colon blood clot", label="blood clot", source="colon"
    )


def test_label_is_the_caption_without_a_template(tmp_path):
    table = read_folder(write_files(tmp_path, "no_finding/1.png", "edema/1.png"))
    assert [sample.caption for sample in table] == ["edema", "no finding"]


def test_nested_files_belong_to_the_label_above(tmp_path):
    root = write_files(tmp_path, "CT/study/series/1.dcm", "CT/2.dcm", "MR/study/1.dcm")
    assert [(sample.label, sample.path.name) for sample in read_folder(root)] == [
        ("CT", "2.dcm"),
        ("CT", "1.dcm"),
        ("MR", "1.dcm"),
    ]


def test_ignores_hidden_files_and_files_without_a_label(tmp_path):
    root = write_files(
        tmp_path, "a/1.png", "a/.DS_Store", "a/.thumbs/1.png", "b/1.png", ".git/1.png", "README.md", "c/.keep"
    )
    assert [str(sample.path.relative_to(root)) for sample in read_folder(root)] == [
        os.path.join("a", "1.png"),  # noqa: PTH118
        os.path.join("b", "1.png"),  # noqa: PTH118
    ]


def test_other_files_below_a_label_are_not_ignored(tmp_path):
    root = write_files(tmp_path, "a/1.png", "a/notes.txt", "b/1.png")
    assert [sample.path.name for sample in read_folder(root)] == ["1.png", "notes.txt", "1.png"]


def test_follows_links_to_labels_but_not_below_a_label(tmp_path):
    elsewhere = write_files(tmp_path / "elsewhere", "1.png")
    root = write_files(tmp_path / "root", "a/1.png")
    (root / "b").symlink_to(elsewhere)
    (root / "a" / "circle").symlink_to(root)
    assert [(sample.label, sample.path.name) for sample in read_folder(root)] == [("a", "1.png"), ("b", "1.png")]


def test_source_of_the_current_folder_is_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_files(tmp_path / "chest", "a/1.png", "b/1.png"))
    assert {sample.source for sample in read_folder(".")} == {"chest"}


@pytest.mark.parametrize("names", [(), ("1.png", "2.png"), ("a/1.png",), ("a b/1.png", "a_b/2.png")])
def test_rejects_fewer_than_two_labels(tmp_path, names):
    with pytest.raises(DatasetError, match="two or more folders") as caught:
        read_folder(write_files(tmp_path, *names))
    assert caught.value.code == "dataset_folder_invalid"


def test_rejects_files_and_missing_folders(tmp_path):
    write_files(tmp_path, "file")
    for name in ("file", "nothing"):
        with pytest.raises(DatasetError) as caught:
            read_folder(tmp_path / name)
        assert caught.value.code == "dataset_not_found"


def test_rejects_a_template_without_the_label(tmp_path):
    with pytest.raises(InputError, match=r"expected \{\} for the label"):
        read_folder(write_files(tmp_path, "a/1.png", "b/1.png"), template="x-ray chest")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every folder")
def test_rejects_a_folder_that_cannot_be_listed(tmp_path):
    root = write_files(tmp_path, "a/1.png", "b/1.png", "b/closed/1.png")
    (root / "b" / "closed").chmod(0)
    try:
        with pytest.raises(DatasetError) as caught:
            read_folder(root)
        assert caught.value.code == "dataset_unreadable"
    finally:
        (root / "b" / "closed").chmod(0o700)
