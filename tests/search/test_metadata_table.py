"""Tables of metadata."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from medimageinsight import search
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def code_of(call) -> str:
    with pytest.raises((DatasetError, InputError)) as caught:
        call()
    return caught.value.code


def test_finds_rows_by_any_form_of_the_path(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    table = search.read_metadata(write(tmp_path, "path,site\nimages/1.png,A\n./images/../images/2.png,B\n"))
    monkeypatch.chdir(tmp_path / "images")
    assert table.row("1.png") == {"site": "A"}
    assert table.row(tmp_path / "images" / "2.png") == {"site": "B"}
    assert table.row("../images/1.png") == {"site": "A"}
    assert table.row("3.png") is None


def test_paths_may_be_relative_to_another_folder(tmp_path):
    table = search.read_metadata(write(tmp_path, "image,site\n1.png,A\n"), root=tmp_path / "elsewhere")
    assert table.row(tmp_path / "elsewhere" / "1.png") == {"site": "A"}


def test_infers_types_of_csv_columns(tmp_path):
    table = search.read_metadata(
        write(
            tmp_path,
            "path,age,weight,smoker,code,mixed,empty,Patient Sex,note\n"
            "1,40,61.5,true,007,1,,F,it's\n"
            "2,,60,False,12,x,, ,\n",
        )
    )
    assert table.columns == ("age", "weight", "smoker", "code", "mixed", "empty", "Patient_Sex", "note")
    assert table.row(tmp_path / "1") == {
        "age": 40,
        "weight": 61.5,
        "smoker": True,
        "code": "007",
        "mixed": "1",
        "Patient_Sex": "F",
        "note": "it's",
    }
    assert table.row(tmp_path / "2") == {"weight": 60.0, "smoker": False, "code": "12", "mixed": "x"}


def test_words_for_no_value_are_empty_in_columns_of_numbers(tmp_path):
    file = write(tmp_path, "path,age,code,only\n1,40,A,NA\n2,NA,NA,NA\n3,#N/A,none,NA\n")
    table = search.read_metadata(file)
    assert table.types == {"age": "integer", "code": "string", "only": "string"}
    assert table.row(tmp_path / "2") == {"code": "NA", "only": "NA"}


def test_required_types_take_precedence(tmp_path):
    file = write(tmp_path, "path,code,weight\n1,12,60\n")
    row = search.read_metadata(file, types={"code": "string", "weight": "float"}).row(tmp_path / "1")
    assert row == {"code": "12", "weight": 60.0}
    assert type(row["weight"]) is float
    bad = write(tmp_path, "path,age\n1,40\n2,forty\n", "bad.csv")
    with pytest.raises(InputError, match=r"age .* row 2") as caught:
        search.read_metadata(bad, types={"age": "integer"})
    assert caught.value.code == "metadata_type_conflict"


def test_reads_requested_columns_and_ids(tmp_path):
    file = write(tmp_path, "path,age,site,id\n1,40,A,x1\n")
    table = search.read_metadata(file, columns=["site"])
    assert table.row(tmp_path / "1") == {"site": "A"}
    assert table.id(tmp_path / "1") == "x1"
    assert table.id(tmp_path / "2") is None
    assert code_of(lambda: search.read_metadata(file, columns=["site", "ward"])) == "dataset_columns_invalid"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("age\n40\n", "dataset_columns_invalid"),
        ("", "dataset_columns_invalid"),
        ("path,age,age\n1,2,3\n", "dataset_columns_invalid"),
        ("path,a b,a_b\n1,2,3\n", "dataset_columns_invalid"),
        ("path,age\n1\n", "dataset_rows_invalid"),
        ("path,age\n1,2\n./1,3\n", "dataset_rows_invalid"),
        ("path,age\n,2\n", "dataset_rows_invalid"),
        ('path,age\n"1,2\n', "dataset_unreadable"),
    ],
)
def test_rejects_unusable_tables(tmp_path, text, code):
    assert code_of(lambda: search.read_metadata(write(tmp_path, text))) == code


def test_stores_columns_of_any_name_and_a_column_of_scores(tmp_path):
    file = write(tmp_path, "File;score;2nd read;Age (years);embedding;ctid\n1;0,5;x;3;y;z\n")
    table = search.read_metadata(file, path_column="file")
    assert table.row(tmp_path / "1") == {
        "score": 0.5,
        "column_2nd_read": "x",
        "Age_years": 3,
        "column_embedding": "y",
        "column_ctid": "z",
    }
    assert search.read_metadata(file, path_column="file", columns=["2ND READ"]).columns == ("column_2nd_read",)


def test_a_repeated_row_counts_once_and_rows_without_images_are_counted(tmp_path):
    table = search.read_metadata(write(tmp_path, "path,age\n1,2\n./1,2\n3,4\n"))
    assert table.row(tmp_path / "1") == {"age": 2}
    assert table.count_unmatched([tmp_path / "1"]) == 1


def test_types_widen_to_hold_the_values_of_the_store_and_the_table(tmp_path, caplog):
    stored = {"bmi": "integer", "stage": "integer", "mrn": "integer", "smoker": "boolean", "Site": "string"}
    file = write(tmp_path, "path,bmi,stage,mrn,smoker,site\n1,20,2a,000,true,7\n2,20.5,2,001,,8\n")
    table = search.read_metadata(file, stored=stored)
    assert table.types == {"bmi": "float", "stage": "string", "mrn": "string", "smoker": "boolean", "Site": "string"}
    assert table.row(tmp_path / "1") == {"bmi": 20.0, "stage": "2a", "mrn": "000", "smoker": True, "Site": "7"}
    assert "stage changes from integer to string" in caplog.text
    assert "bmi" not in caplog.text
    declared = search.read_metadata(file, types={"BMI": "string"}, stored={})
    assert declared.row(tmp_path / "1")["bmi"] == "20"


def test_reads_real_exports(shared):
    folder = shared / "cases" / "uses"
    first = search.read_metadata(folder / "m1.csv")
    assert first.types == {"mrn": "integer", "stage": "integer", "bmi": "integer", "smoker": "boolean"}
    for name, changed in (
        ("m2_bmi", {"bmi": "float"}),
        ("m2_stage", {"stage": "string"}),
        ("m2_zeros", {"mrn": "string"}),
    ):
        assert search.read_metadata(folder / f"{name}.csv", stored=first.types).types == {**first.types, **changed}
    assert search.read_metadata(folder / "excel_de.csv").columns == ("age", "sex")
    for name in ("pandas_index.csv", "semicolon.csv"):
        table = search.read_metadata(folder / name)
        assert table.columns[:2] == ("patient_id", "age")
        assert table.row(folder / "kermany_cxr" / "viral" / "scan (1).jpg")["patient_id"] == "00001"


def test_rejects_missing_and_unreadable_files(tmp_path):
    assert code_of(lambda: search.read_metadata(tmp_path / "no.csv")) == "dataset_not_found"
    assert code_of(lambda: search.read_metadata(write(tmp_path, "x", "a.xlsx"))) == "dataset_format_unknown"
    assert code_of(lambda: search.read_metadata(write(tmp_path, "x", "a.parquet"))) == "dataset_unreadable"


def test_parquet_columns_have_their_own_types(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the parquet extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "path": ["1.png", "2.png"],
            "age": pa.array([40, None], pa.int16()),
            "weight": pa.array([61.5, float("nan")], pa.float32()),
            "smoker": [True, None],
            "site": pa.array(["A", "B"]).dictionary_encode(),
            "seen": pa.array([datetime(2020, 1, 2, 3, 4), None], pa.timestamp("us")),
            "pixels": [b"\x00\xff", b""],
            "several": [[1], [2]],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    found = search.read_metadata(tmp_path / "t.parquet")
    assert found.columns == ("age", "weight", "smoker", "site", "seen")
    assert found.row(tmp_path / "1.png") == {
        "age": 40,
        "weight": 61.5,
        "smoker": True,
        "site": "A",
        "seen": "2020-01-02T03:04:00",
    }
    assert (
        code_of(lambda: search.read_metadata(tmp_path / "t.parquet", columns=["pixels"])) == "dataset_columns_invalid"
    )
    assert search.read_metadata(tmp_path / "t.parquet", columns=["age"]).columns == ("age",)
