"""Tables as spreadsheets, pandas and statistics programs write them."""

from __future__ import annotations

import datetime
import decimal
import logging

import pytest

from medimageinsight.errors import DatasetError
from medimageinsight.files.columns import find_column, read_columns, read_header, read_values

ROWS = [["Path", "Größe", "note"], ["a/1.png", "12,5", "x; y, z | w"], ["a/2.png", "1.240,0", 'say "a"\nb']]
LOG = "medimageinsight.files"


def everything(header):
    return {name: name for name in header}


def quoted(rows: list[list[str]], separator: str) -> str:
    return "".join(separator.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_detects_separator_and_encoding(tmp_path, separator, encoding, caplog):
    caplog.set_level(logging.INFO, LOG)
    file = tmp_path / "table.csv"
    file.write_bytes(quoted(ROWS, separator).encode(encoding))
    cells = read_columns(file, everything)
    assert [list(row) for row in zip(*cells.values(), strict=True)] == ROWS[1:]
    assert list(cells) == ROWS[0]
    assert ("separated by" in caplog.text) == (separator != ",")
    assert ("Windows-1252" in caplog.text) == (encoding == "cp1252")
    numbers = ["12,5", "1.240,0"] if separator == "," else ["12.5", "1240.0"]
    assert read_values(file, everything)["Größe"] == numbers


def test_reads_the_unicode_text_of_a_spreadsheet(tmp_path):
    file = tmp_path / "table.txt"
    file.write_bytes(quoted(ROWS, "\t").encode("utf-16"))
    assert read_header(file) == ROWS[0]


def test_decimal_commas_stay_in_columns_with_other_text(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("path;codes;whole\n1;1,2;3\n2;x;4\n", "utf-8")
    assert read_values(file, everything) == {"path": ["1", "2"], "codes": ["1,2", "x"], "whole": ["3", "4"]}


def test_reads_the_separator_line_of_a_spreadsheet_and_skips_its_empty_cells_and_rows(tmp_path):
    file = tmp_path / "table.csv"
    file.write_bytes(b"sep=;\r\npath;age;;\r\n1.png;40;;\r\n;;;\r\n2.png;;;\r\n\r\n")
    assert read_columns(file, everything) == {"path": ["1.png", "2.png"], "age": ["40", ""]}


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_ignores_the_row_numbers_of_pandas(tmp_path, first):
    file = tmp_path / "table.csv"
    file.write_text(f"{first},path,age\n0,1.png,40\n1,2.png,50\n", "utf-8")
    assert read_header(file) == ["path", "age"]
    assert read_columns(file, everything) == {"path": ["1.png", "2.png"], "age": ["40", "50"]}


def test_reads_cells_of_any_length_and_reports_columns_without_a_name(tmp_path, caplog):
    file = tmp_path / "table.tsv"
    file.write_text(f"path\t\tnote\n1.png\tlost\t{'r' * 300_000}\n", "utf-8")
    assert len(read_columns(file, everything)["note"][0]) == 300_000
    assert "1 columns of the table have no name" in caplog.text


@pytest.mark.parametrize("data", [b"path,a\n1.png,\x81\xff\n", b"\xff\xfea", b"path\x00\x01\x02\xd8\x00\n"])
def test_rejects_files_that_are_no_text(tmp_path, data):
    file = tmp_path / "table.csv"
    file.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        read_columns(file, everything)
    assert caught.value.code == "dataset_unreadable"


def test_finds_columns_in_other_spellings():
    header = ["Path", "Patient ID", "age", "Age (years)"]
    assert find_column(header, "path") == "Path"
    assert find_column(header, "patient_id") == "Patient ID"
    assert find_column(header, "AGE") == "age"
    assert find_column(header, "sex") is None
    with pytest.raises(DatasetError, match="may be"):
        find_column(["Age", "AGE"], "age")


def test_reads_the_types_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the parquet extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "path": ["1.png"],
            "dose": [decimal.Decimal("1.25")],
            "day": [datetime.date(2023, 1, 2)],
            "at": [datetime.time(3, 4)],
            "when": pa.array([1], pa.timestamp("ms", "UTC")),
            "pixels": [b"\xff"],
            "__index_level_0__": [7],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    assert {name: column[0] for name, column in read_values(tmp_path / "t.parquet", everything).items()} == {
        "path": "1.png",
        "dose": 1.25,
        "day": "2023-01-02",
        "at": "03:04:00",
        "when": "1970-01-01T00:00:00.001000+00:00",
    }
    assert read_header(tmp_path / "t.parquet") == ["path", "dose", "day", "at", "when", "pixels"]
