"""A report's folder is written whole or not at all."""

from __future__ import annotations

import pytest

from medimageinsight.errors import InputError
from medimageinsight.reports import REPORT_NAME, check_report_folder, new_report_folder


def write_report(folder, text, plots=()):
    with new_report_folder(folder) as fresh:
        (fresh / REPORT_NAME).write_text(text)
        (fresh / "report.md").write_text("".join(f"![plot]({name})" for name in plots))
        for name in plots:
            (fresh / name).write_text("plot")


def test_earlier_report_is_replaced(tmp_path):
    folder = tmp_path / "deep" / "report"
    write_report(folder, "first", plots=("roc.png",))
    write_report(folder, "second")
    assert (folder / REPORT_NAME).read_text() == "second"
    assert {path.name for path in folder.iterdir()} == {REPORT_NAME, "report.md"}
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


@pytest.mark.parametrize("name", ["thesis.txt", "other.png"])
def test_folder_with_other_files_is_refused_and_unchanged(tmp_path, name):
    write_report(tmp_path / "report", "first")
    (tmp_path / "report" / name).write_text("mine")
    with pytest.raises(InputError, match="got a folder with other files: choose another") as caught:
        write_report(tmp_path / "report", "second")
    assert caught.value.code == "report_folder_occupied"
    assert (tmp_path / "report" / name).read_text() == "mine"
    assert (tmp_path / "report" / REPORT_NAME).read_text() == "first"


def test_file_is_refused(tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(InputError, match="got a file"):
        check_report_folder(tmp_path / "report")


def test_failed_write_leaves_the_earlier_report(tmp_path):
    write_report(tmp_path / "report", "first")
    with pytest.raises(OSError, match="disk full"), new_report_folder(tmp_path / "report"):
        raise OSError("disk full")
    assert (tmp_path / "report" / REPORT_NAME).read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
