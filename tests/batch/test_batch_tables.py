"""Tables, lists and series as the input of a batch, and the files of the hosted batch endpoint."""

from __future__ import annotations

import base64
import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medimageinsight import MedImageInsight, batch, studies
from medimageinsight.batch import BatchOptions
from tests.batch.outputs import read_rows
from tests.cli.study_folders import write_series

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def model(toy_bundle: Path) -> MedImageInsight:
    return MedImageInsight.load(toy_bundle)


def embed(inputs: Path, out: Path, model: MedImageInsight, **options: Any) -> list[dict[str, Any]]:
    """Embed in this process, without a worker."""
    settings = BatchOptions(part_rows=3, **options)
    manifest = batch.plan([str(inputs)], str(out), settings, model.identity)
    for part in batch.list_parts(str(out), manifest):
        batch.embed_part(part, model)
    return read_rows(out)


def test_a_table_of_paths_and_base64_keeps_its_order_and_keys(
    images: Path, tmp_path: Path, model: MedImageInsight
) -> None:
    wrapped = base64.encodebytes((images / "00.png").read_bytes()).decode()  # with line breaks
    table = images / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "image", "other"])
        writer.writerow(["a", "02.png", ""])
        writer.writerow(["b", wrapped, "x"])
        writer.writerow(["c", "missing.png", ""])
        writer.writerow(["d", "", ""])
        writer.writerow(["e", wrapped, ""])
        writer.writerow(["f", "https://example.org/a.png", ""])
        writer.writerow(["g", "data:image/png;base64,AAAA", ""])
    rows = embed(table, tmp_path / "out", model)
    assert [row["key"] for row in rows] == list("abcdefg")
    assert [row["error_code"] for row in rows] == [
        None, None, "image_not_found", "image_missing", None, "batch_scheme_unknown", "image_not_an_image"
    ]  # fmt: skip
    expected = model.embed_images([images / "02.png", images / "00.png", images / "00.png"])
    np.testing.assert_array_equal([row["embedding"] for row in rows if row["embedding"]], expected.tolist())


def test_a_parquet_table_of_bytes_and_paths(images: Path, tmp_path: Path, model: MedImageInsight) -> None:
    data = [(images / name).read_bytes() for name in ("00.png", "02.png", "04.png")] * 3
    table = pa.table({"image": pa.array(data, pa.binary()), "key": [f"k{number}" for number in range(9)]})
    pq.write_table(table, tmp_path / "bytes.parquet", row_group_size=4)
    rows = embed(tmp_path / "bytes.parquet", tmp_path / "out", model)
    assert [row["key"] for row in rows] == [f"k{number}" for number in range(9)]
    expected = [vector.tolist() for vector in model.embed_images(data)]
    assert [row["embedding"] for row in rows] == expected

    pq.write_table(pa.table({"path": [str(images / "02.png"), None]}), tmp_path / "paths.parquet")
    rows = embed(tmp_path / "paths.parquet", tmp_path / "out2", model)
    assert [(row["key"], row["error_code"]) for row in rows] == [
        (str(images / "02.png"), None),
        (f"{tmp_path / 'paths.parquet'}#row=1", "image_missing"),
    ]


def test_a_list_of_files(images: Path, tmp_path: Path, model: MedImageInsight) -> None:
    names = [str(images / "04.png"), str(images / "00.png"), (images / "02.png").as_uri()]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(names), encoding="utf-8")
    rows = embed(tmp_path / "list.txt", tmp_path / "out", model)
    assert [row["key"] for row in rows] == names
    assert not any(row["error_code"] for row in rows)


def test_series_of_folders_have_pooled_vectors(tmp_path: Path, model: MedImageInsight) -> None:
    write_series(tmp_path / "ct" / "one", patient="p", study="s", series="a", level=300)
    for name, level in (("b", 500), ("c", 800)):
        for path in write_series(tmp_path / name, patient="p", study="s", series=name, level=level):
            path.rename(tmp_path / "ct" / f"{name}-{path.name}")
    (tmp_path / "ct" / "broken.dcm").write_bytes(b"broken")
    rows = embed(tmp_path / "ct", tmp_path / "out", model, level="series")
    keys = [row["key"].removeprefix(str(tmp_path)) for row in rows]
    assert keys == ["/ct#series=0", "/ct#series=1", "/ct/broken.dcm", "/ct/one"]
    assert [row["error_code"] is not None for row in rows] == [False, False, True, False]
    (study,) = studies.read(tmp_path / "ct" / "one")
    assert rows[3]["embedding"] == model.embed_images(study.series[0]).tolist()


def test_the_files_of_the_hosted_batch_endpoint(images: Path, tmp_path: Path, mi2: Command) -> None:
    requests = tmp_path / "requests"
    requests.mkdir()
    image = base64.b64encode((images / "00.png").read_bytes()).decode()
    for name, rows in {
        "a.csv": [[image, "x-ray chest"], ["", "skin"], ["", ""]],
        "b.csv": [[image, ""], ["broken.png", "eye"]],
    }.items():
        with (requests / name).open("w", newline="") as file:
            csv.writer(file).writerows([["image", "text"], *rows])
    done = mi2("batch", requests, tmp_path / "out", "--csv", "--json")
    assert done.code == 1
    assert done.json["errors"] == {"image_missing": 1, "image_not_found": 1}
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        read = [(int(row), json.loads(prediction), name) for row, prediction, name in csv.reader(file)]
    assert [(row, name.removeprefix(f"{requests}/")) for row, _, name in read] == [
        (0, "a.csv"), (1, "a.csv"), (2, "a.csv"), (0, "b.csv"), (1, "b.csv")
    ]  # fmt: skip
    first, second, third, fourth, fifth = (prediction for _, prediction, _ in read)
    assert np.shape(first["image_features"]) == (1, 8)
    assert np.shape(first["text_features"]) == (8,)
    assert second.keys() == {"text_features"}
    assert third["error"]["code"] == "image_missing"
    assert fourth.keys() == {"image_features"}
    assert fifth["error"]["code"] == "image_not_found"
    again = mi2("batch", requests, tmp_path / "out", "--csv", "--resume")
    assert again.code == 0


def test_what_a_terminal_shows_of_wrong_calls(images: Path, tmp_path: Path, mi2: Command) -> None:
    for words, code in (
        ((images, tmp_path / "out", "--engine", "cloud"), "engine_unknown"),
        ((tmp_path / "nothing", tmp_path / "out"), "batch_input_missing"),
        ((images, images / "00.png"), "batch_out_invalid"),
        ((images, tmp_path / "out", "--level", "study"), "level_unknown"),
        ((images, "ftp://host/out"), "batch_scheme_unknown"),
    ):
        done = mi2("batch", *words, "--json")
        assert (done.code, done.json["error"]["code"]) == (2, code)
    assert not (tmp_path / "out").exists()
