from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from medimageinsight import MedImageInsight
from medimageinsight.cli.vector_files import Result, new_vector_file
from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(toy_bundle: Path):
    with MedImageInsight.load(toy_bundle) as loaded:
        yield loaded


def test_json_has_files_then_texts_in_order(mi2, model, image_files: list[Path]) -> None:
    done = mi2("embed", *image_files, "--text", "x-ray", "--text", "mri", "--json")
    assert done.code == 0
    assert done.err == ""
    assert [one["source"] for one in done.json] == [*map(str, image_files), "x-ray", "mri"]
    found = np.array([one["embedding"] for one in done.json], dtype=np.float32)
    expected = np.concatenate([model.embed_images(image_files), model.embed_texts(["x-ray", "mri"])])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_failed_input_is_reported_in_its_place(mi2, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    done = mi2("embed", image_files[0], missing, image_files[1], "--json")
    assert done.code == 1
    assert [list(one) for one in done.json] == [["source", "embedding"], ["source", "error"], ["source", "embedding"]]
    assert done.json[1]["source"] == str(missing)
    assert done.json[1]["error"]["code"] == "image_not_found"
    assert done.err.startswith(f"error: {missing}: expected ")
    assert done.err.count("\n") == 1


def test_standard_input_is_one_image(mi2, image_files: list[Path]) -> None:
    piped = mi2("embed", "-", "--json", stdin=image_files[0].read_bytes())
    named = mi2("embed", image_files[0], "--json")
    assert piped.json[0]["source"] == "-"
    assert piped.json[0]["embedding"] == named.json[0]["embedding"]


def test_a_folder_is_searched(mi2, image_files: list[Path]) -> None:
    done = mi2("embed", image_files[0].parent, "--json")
    assert [one["source"] for one in done.json] == list(map(str, image_files))


def test_without_out_a_table_is_shown(mi2, image_files: list[Path]) -> None:
    done = mi2("embed", image_files[0])
    assert done.code == 0
    assert str(image_files[0]) in done.out
    assert "8 numbers" in done.out


def test_npy_keeps_rows_in_order_and_a_failed_one_as_nan(mi2, model, image_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    done = mi2("embed", image_files[0], tmp_path / "missing.png", image_files[1], "--out", out)
    assert done.code == 1
    assert done.out == ""
    assert "2 of 3 embedded" in done.err
    rows = np.load(out)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(rows[[0, 2]], model.embed_images(image_files[:2]), atol=1e-6)


def test_jsonl_is_one_result_a_line(mi2, image_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "vectors.jsonl"
    mi2("embed", image_files[0], tmp_path / "missing.png", "--out", out)
    first, second = map(json.loads, out.read_text().splitlines())
    assert len(first["embedding"]) == 8
    assert second["error"]["code"] == "image_not_found"


def test_parquet_has_null_where_it_failed(mi2, image_files: list[Path], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "vectors.parquet"
    mi2("embed", image_files[0], tmp_path / "missing.png", "--out", out)
    table = pq.read_table(out)
    assert table.column_names == ["source", "embedding", "error_code", "error_message"]
    assert table["embedding"].type.list_size == 8
    assert table["error_code"].to_pylist() == [None, "image_not_found"]
    assert table["embedding"].to_pylist()[1] is None


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_a_file_that_fails_leaves_the_old_one_and_no_part(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text("old")

    def fail_halfway() -> None:
        with new_vector_file(path, count=2, dim=3) as write:
            write(Result(source="a", embedding=np.ones(3, np.float32)))
            write(Result(source="b", error=ImageError("x")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "expected image files or --text, got neither"),
        (["--text", "x", "--out", "v.csv"], 2, "expected --out to end in .npy, .jsonl, .parquet, got .csv"),
        (["--text", "x", "--out", "no/folder/v.npy"], 1, "error: no/folder/v.npy: expected a path that can be used"),
        (["--text", "x", "--preprocessing", "odd"], 2, "expected the preprocessing 'direct' or 'azure'"),
        (["--text", ""], 1, ""),
    ],
)
def test_wrong_calls(mi2, words: list[str], code: int, message: str) -> None:
    done = mi2("embed", *words)
    if message:
        assert done.code == code
        assert message in done.err
    assert "Traceback" not in done.err


def test_a_frame_of_a_multi_frame_file_can_be_chosen(mi2) -> None:
    path = get_testdata_file("examples_ybr_color.dcm", download=False)
    first, tenth = (mi2("embed", path, "--frame", frame, "--json").json[0]["embedding"] for frame in (0, 9))
    assert first != tenth
    assert mi2("embed", path, "--frame", 30).code == 1
