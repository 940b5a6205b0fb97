from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from medimageinsight import MedImageInsight
from medimageinsight.cli.vector_files import Result, new_vector_file
from medimageinsight.datasets import read_vectors
from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(toy_bundle: Path):
    with MedImageInsight.load(toy_bundle) as loaded:
        yield loaded


def test_json_has_files_then_texts_in_order(mi2, model, image_files: list[Path]) -> None:
    result = mi2("embed", *image_files, "--text", "x-ray", "--text", "mri", "--json")
    assert result.code == 0
    assert result.err == ""
    assert [entry["source"] for entry in result.json] == [*map(str, image_files), "x-ray", "mri"]
    actual = np.array([entry["embedding"] for entry in result.json], dtype=np.float32)
    expected = np.concatenate([model.embed_images(image_files), model.embed_texts(["x-ray", "mri"])])
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_failed_input_is_reported_at_its_index(mi2, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("embed", image_files[0], missing, image_files[1], "--json")
    assert result.code == 1
    assert [list(entry) for entry in result.json] == [
        ["source", "embedding"],
        ["source", "error"],
        ["source", "embedding"],
    ]
    assert result.json[1]["source"] == str(missing)
    assert result.json[1]["error"]["code"] == "image_not_found"
    assert result.err.startswith(f"error: {missing}: expected ")
    assert result.err.count("\n") == 1


def test_standard_input_is_one_image(mi2, image_files: list[Path]) -> None:
    piped = mi2("embed", "-", "--json", stdin=image_files[0].read_bytes())
    named = mi2("embed", image_files[0], "--json")
    assert piped.json[0]["source"] == "-"
    assert piped.json[0]["embedding"] == named.json[0]["embedding"]


def test_searches_folders(mi2, image_files: list[Path]) -> None:
    result = mi2("embed", image_files[0].parent, "--json")
    assert [entry["source"] for entry in result.json] == list(map(str, image_files))


def test_prints_a_table_without_out(mi2, image_files: list[Path]) -> None:
    result = mi2("embed", image_files[0])
    assert result.code == 0
    assert str(image_files[0]) in result.out
    assert "8 numbers" in result.out


def test_npy_has_rows_in_order_with_nan_for_failed_images(mi2, model, image_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    result = mi2("embed", image_files[0], tmp_path / "missing.png", image_files[1], "--out", out)
    assert result.code == 1
    assert result.out == ""
    assert "2 of 3 embedded" in result.err
    rows = np.load(out)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(rows[[0, 2]], model.embed_images(image_files[:2]), atol=1e-6)


def test_jsonl_has_one_result_per_line(mi2, image_files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "vectors.jsonl"
    mi2("embed", image_files[0], tmp_path / "missing.png", "--out", out)
    first, second = map(json.loads, out.read_text().splitlines())
    assert len(first["embedding"]) == 8
    assert second["error"]["code"] == "image_not_found"


def test_parquet_has_null_for_failed_images(mi2, image_files: list[Path], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "vectors.parquet"
    mi2("embed", image_files[0], tmp_path / "missing.png", "--out", out)
    table = pq.read_table(out)
    assert table.column_names == ["source", "embedding", "error_code", "error_message"]
    assert table["embedding"].type.list_size == 8
    assert table["error_code"].to_pylist() == [None, "image_not_found"]
    assert table["embedding"].to_pylist()[1] is None


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_failed_write_preserves_the_old_file_and_leaves_no_partial_file(tmp_path: Path, model, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text("old")

    def fail_halfway() -> None:
        with new_vector_file(path, count=2, dim=3, model=model.identity) as write:
            write(Result(source="a", embedding=np.ones(3, np.float32)))
            write(Result(source="b", error=ImageError("x")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
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
def test_rejects_invalid_options(mi2, words: list[str], code: int, message: str) -> None:
    result = mi2("embed", *words)
    if message:
        assert result.code == code
        assert message in result.err
    assert "Traceback" not in result.err


def test_embeds_the_chosen_frame(mi2) -> None:
    path = get_testdata_file("examples_ybr_color.dcm", download=False)
    first, tenth = (mi2("embed", path, "--frame", frame, "--json").json[0]["embedding"] for frame in (0, 9))
    assert first != tenth
    assert mi2("embed", path, "--frame", 30).code == 1


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_continues_an_interrupted_call(mi2, image_files: list[Path], tmp_path: Path, monkeypatch, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    out, whole = tmp_path / name, tmp_path / f"whole-{name}"
    words = ["embed", image_files[0], tmp_path / "missing.png", *image_files[1:], "--text", "a", "--text", "b"]
    assert mi2(*words, "--out", whole).code == 1
    embed_text = MedImageInsight.embed_texts

    def interrupt(model, text):
        if text == "b":
            raise KeyboardInterrupt
        return embed_text(model, text)

    with monkeypatch.context() as patched:
        patched.setattr(MedImageInsight, "embed_texts", interrupt)
        interrupted = mi2(*words, "--out", out)
    assert interrupted.code == 130
    assert "5 results" in interrupted.err
    assert "--resume" in interrupted.err
    partial = out.with_name(f"{name}.partial")
    with partial.open("ab") as file:
        file.write(b'{"source": "torn')
    embedded: list[str] = []
    monkeypatch.setattr(
        MedImageInsight, "embed_texts", lambda model, text: embedded.append(text) or embed_text(model, text)
    )
    resumed = mi2(*words, "--out", out, "--resume")
    assert embedded == ["b"]
    assert "5 of 6 embedded" in resumed.err
    assert out.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_resumes_the_same_call_only(mi2, image_files: list[Path], tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "v.npy"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MedImageInsight, "embed_texts", interrupt)
        mi2("embed", image_files[0], "--text", "a", "--out", out)
    other = mi2("embed", image_files[1], "--text", "a", "--out", out, "--resume", "--json")
    assert (other.code, other.json["error"]["code"]) == (2, "resume_other_call")
    assert mi2("embed", image_files[0], "--resume", "--json").json["error"]["code"] == "resume_invalid"
    assert mi2("embed", image_files[1], "--out", out).code == 0  # starts again
    assert [path.name for path in sorted(tmp_path.glob("v.npy*"))] == ["v.npy", "v.npy.json"]


def test_a_full_disk_is_an_error_and_loses_nothing(mi2, image_files: list[Path], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit of a file's size")
    out = tmp_path / "v.npy"
    mi2("embed", *image_files, "--out", out)
    size = out.stat().st_size
    out.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
        full = mi2("embed", *image_files, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)
    assert full.code == 1
    assert "File too large" in full.err
    assert "--resume" in full.err
    assert not out.exists()
    assert mi2("embed", *image_files, "--out", out, "--resume").code == 0
    assert out.stat().st_size == size


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_files_state_their_sources_and_model(mi2, model, image_files: list[Path], tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    out = tmp_path / name
    mi2("embed", image_files[0], tmp_path / "missing.png", "--out", out)
    found = read_vectors(out)
    assert found.sources is not None
    assert list(found.sources) == [str(image_files[0]), str(tmp_path / "missing.png")]
    assert found.succeeded.tolist() == [True, False]
    assert found.model == model.identity
    np.testing.assert_allclose(found.vectors[0], model.embed_images(image_files[0]), atol=1e-6)
    other = mi2("outliers", out, image_files[0], "--validation", out, "--preprocessing", "azure", "--json")
    assert (other.code, other.json["error"]["code"]) == (2, "vectors_other_model")
