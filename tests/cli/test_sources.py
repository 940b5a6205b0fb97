from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight.cli.errors import SourceFailedError
from medimageinsight.cli.sources import list_sources
from tests.images.dicom_datasets import make_dataset, to_file_bytes

if TYPE_CHECKING:
    from pathlib import Path


def test_folder_is_replaced_by_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "b/.hidden", ".git/x", "a", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    paths = [os.path.relpath(path, tmp_path) for path in list_sources([str(tmp_path)])]
    assert paths == ["a", "c", "b/1", "b/2"]


def test_other_names_are_unchanged(tmp_path: Path) -> None:
    names = ["-", "no/such.png", "data:image/png;base64,AAAA", "https://example.org/x.png"]
    assert list_sources(names) == names


def test_rejects_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceFailedError) as raised:
        list_sources([str(tmp_path)])
    assert raised.value.source == str(tmp_path)
    assert raised.value.error.code == "folder_empty"


def test_counts_what_is_no_image_in_a_folder(mi2, image_files, tmp_path: Path, monkeypatch) -> None:
    folder = image_files[0].parent
    (folder / "readme.txt").write_text("notes")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "volume.nii.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    report = make_dataset(np.zeros((2, 2), np.uint8))
    del report.Rows, report.Columns, report.PixelData
    (folder / "report.dcm").write_bytes(to_file_bytes(report))
    whole = to_file_bytes(make_dataset(np.zeros((2, 2), np.uint8)))
    (folder / "zipped.dcm.gz").write_bytes(gzip.compress(whole))
    (folder / "no_ending").write_bytes(image_files[0].read_bytes())
    found = mi2("embed", folder, "--json")
    assert found.code == 0
    assert [row["source"].rpartition(os.sep)[2] for row in found.json] == [
        "a.png",
        "b.png",
        "c.png",
        "no_ending",
        "zipped.dcm.gz",
    ]
    assert "5 files are not images: 1 .db, 1 .nii.gz, 1 .txt, 1 DICOM without pixels, 1 DICOMDIR" in found.err
    (folder / "damaged.png").write_bytes(b"x")
    assert mi2("embed", folder).code == 1
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    empty = mi2("embed", tmp_path / "texts", "--json")
    assert empty.json["error"]["message"] == "expected images in the folder, got 1 .txt: choose another"


def test_follows_links_once_and_reports_files_of_several_frames(mi2, image_files, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "images"
    for path in (elsewhere, folder):
        path.mkdir()
    image_files[0].rename(elsewhere / "a.png")
    frames = [Image.new("L", (8, 8), value) for value in (0, 99)]
    frames[0].save(folder / "two.gif", save_all=True, append_images=frames[1:])
    (folder / "1_link").symlink_to(elsewhere)
    (folder / "2_again").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(folder)
    found = mi2("embed", folder, "--json")
    assert [row["source"] for row in found.json] == [str(folder / "two.gif"), str(folder / "1_link" / "a.png")]
    assert "links to folders were followed: 1" in found.err
    assert "1 images have several frames" in found.err


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_names_the_files(mi2, tmp_path: Path, image_files: list[Path], separator: str) -> None:
    listed = separator.join(map(str, image_files[1:])) + separator
    (tmp_path / "list.txt").write_bytes(listed.encode())
    expected = [str(path) for path in image_files]
    from_file = mi2("embed", image_files[0], "--files", tmp_path / "list.txt", "--json")
    assert [item["source"] for item in from_file.json] == expected
    from_input = mi2("embed", image_files[0], "--files", "-", "--json", stdin=listed.encode())
    assert [item["source"] for item in from_input.json] == expected


def test_files_or_a_list_are_required_where_files_are(mi2, tmp_path: Path) -> None:
    missing = mi2("adapter", "predict", tmp_path / "a.adapter", "--json")
    assert (missing.code, missing.json["error"]["code"]) == (2, "files_missing")
    (tmp_path / "empty.txt").write_text("\n\n")
    empty = mi2("embed", "--files", tmp_path / "empty.txt", "--json")
    assert (empty.code, empty.json["error"]["code"]) == (2, "files_missing")
    assert mi2("embed", "--files", tmp_path / "nosuch.txt").code == 1
