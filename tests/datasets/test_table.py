from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight.datasets import Sample, read_table
from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "path,caption,label,split,patient_id"
ROWS = ("a/1.png,x-ray chest,normal,train,p1", "a/2.png,x-ray knee,KL0,test,p2")


def write_csv(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def test_reads_rows_in_order_with_paths_relative_to_the_table(tmp_path):
    table = read_table(write_csv(tmp_path, HEADER, *ROWS))
    assert table.root == tmp_path
    assert [sample.path for sample in table] == [tmp_path / "a" / "1.png", tmp_path / "a" / "2.png"]
    assert table.samples[0] == Sample(
        path=tmp_path / "a" / "1.png", caption="x-ray chest", label="normal", split="train", patient_id="p1"
    )
    assert table.splits == {"train": 1, "test": 1}


def test_reads_another_root_and_a_single_split(tmp_path):
    table = read_table(write_csv(tmp_path, HEADER, *ROWS), root=tmp_path / "images", split="test")
    assert [sample.path for sample in table] == [tmp_path / "images" / "a" / "2.png"]
    assert len(table) == 1


def test_reads_other_column_names_a_byte_order_mark_and_quoted_commas(tmp_path):
    file = write_csv(tmp_path, "image,text,class", '1.png,"fundus, left",DR0', encoding="utf-8-sig")
    (sample,) = read_table(file, columns={"caption": "text", "label": "class"})
    assert (sample.path.name, sample.caption, sample.label) == ("1.png", "fundus, left", "DR0")


def test_builds_a_missing_caption_from_its_parts(tmp_path):
    file = write_csv(
        tmp_path, "path,caption,modality,anatomy,view,finding", "1.png,,x-ray,chest,,Edema", "2.png,CT,,,,"
    )
    assert [sample.caption for sample in read_table(file)] == ["x-ray chest Edema", "CT"]


def test_reads_parquet_with_nulls_numbers_and_other_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from pyarrow import parquet

    columns = {"path": ["1.png", "2.png"], "caption": ["a", "b"], "label": [3, None], "pixels": [b"x", b"y"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
    assert [sample.label for sample in read_table(tmp_path / "table.parquet")] == ["3", ""]


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        ([HEADER], "dataset_empty", "at least one row"),
        ([""], "dataset_columns_invalid", "'path'"),
        (["file,label", "1.png,a"], "dataset_columns_invalid", "'path' or 'image'; there is no column 'caption'"),
        (["path,caption,path", "1.png,a,2.png"], "dataset_columns_invalid", "'path' occurs twice"),
        (["path,caption", "1.png"], "dataset_rows_invalid", "2 cells in row 1"),
        (["path,caption", '1.png,"open'], "dataset_unreadable", "expected CSV"),
    ],
)
def test_rejects_invalid_tables(tmp_path, lines, code, message):
    with pytest.raises(DatasetError) as caught:
        read_table(write_csv(tmp_path, *lines))
    assert caught.value.code == code
    assert message in caught.value.message


def test_names_all_invalid_rows_at_once(tmp_path):
    paths = ["../secret.png", "/etc/passwd", "C:\\x.png", "a\\..\\..\\x.png", "ok.png", "./ok.png", "", "a/../b.png"]
    lines = [f"{path},caption" for path in paths] + ["last.png,"]
    with pytest.raises(DatasetError) as caught:
        read_table(write_csv(tmp_path, "path,caption", *lines))
    message = caught.value.message
    assert "outside the folder (absolute, or with '..') in rows 1, 2, 3, 4, 8;" in message
    assert "an image path that occurs twice in row 6;" in message
    assert "no image path in row 7" in message
    assert "no caption and no parts to build it from in row 9" in message
    assert "secret" not in message


def test_counts_many_invalid_rows(tmp_path):
    with pytest.raises(DatasetError, match="rows 1, 2, 3, 4, 5 and 95 more"):
        read_table(write_csv(tmp_path, "path,caption", *(f"../{n}.png,c" for n in range(100))))


def test_rejects_unknown_splits_fields_columns_and_files(tmp_path):
    file = write_csv(tmp_path, HEADER, *ROWS)
    with pytest.raises(DatasetError, match="one of the table's splits"):
        read_table(file, split="validation")
    with pytest.raises(DatasetError, match=r"'colour' is not a field.*there is no column 'text'"):
        read_table(file, columns={"colour": "label", "caption": "text"})
    with pytest.raises(DatasetError, match="expected a table file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "table.xlsx").touch()
    with pytest.raises(DatasetError, match=r"got \.xlsx"):
        read_table(tmp_path / "table.xlsx")
    (tmp_path / "bad.csv").write_bytes(b"path,caption\n\x81\xfe,x\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        read_table(tmp_path / "bad.csv")


def test_rejects_a_file_that_is_not_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    (tmp_path / "table.parquet").write_text("path,caption")
    with pytest.raises(DatasetError, match="expected Parquet"):
        read_table(tmp_path / "table.parquet")


def test_reads_only_the_columns_that_a_task_needs(tmp_path):
    file = write_csv(tmp_path, "Path,Diagnosis", "1.png,a", "2.png,")
    table = read_table(file, columns={"label": "diagnosis"}, required=("label",))
    assert [(sample.path.name, sample.label, sample.caption) for sample in table] == [
        ("1.png", "a", ""),
        ("2.png", "", ""),
    ]
    assert len(read_table(file, required=())) == 2
    with pytest.raises(DatasetError, match="no column 'label'"):
        read_table(file, required=("label",))


def test_reads_absolute_paths_below_the_root_and_windows_separators(tmp_path):
    (tmp_path / "images").mkdir()
    file = write_csv(tmp_path, "File name,caption", f"{tmp_path / 'images' / 'a.png'},x", "b\\c.png,y")
    table = read_table(file, root=tmp_path / "images", columns={"path": "file_name"})
    assert [sample.path for sample in table] == [tmp_path / "images" / "a.png", tmp_path / "images" / "b" / "c.png"]
    with pytest.raises(DatasetError, match="outside the folder"):
        read_table(file, root=tmp_path / "other", columns={"path": "File name"})


def test_reads_medmix_equally_from_both_formats(shared):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    folder = shared / "data" / "medmix"
    table = read_table(folder / "medmix.csv")
    assert table == read_table(folder / "medmix.parquet")
    assert table.splits == {"train": 5843, "test": 1661, "val": 813}
    assert all(sample.path.is_file() for sample in table.samples[::97])


def test_old_name_of_image_source_is_deprecated(tmp_path):
    sample = Sample(path=tmp_path / "1.png", caption="c")
    with pytest.warns(DeprecationWarning, match="image_source"):
        assert getattr(sample, "picture")() == sample.path  # noqa: B009 - the old name is not used elsewhere
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sample.no_such_name
