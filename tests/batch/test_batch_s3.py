"""Object stores as the input and output of a batch, against a server with S3's interface."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from medimageinsight import MedImageInsight, batch
from medimageinsight.batch import BatchOptions
from medimageinsight.batch.locations import open_bucket
from medimageinsight.batch.storage import open_storage
from medimageinsight.errors import InputError
from tests.batch.outputs import COLUMNS

obstore = pytest.importorskip("obstore", reason="object stores need the extra batch")
pytest.importorskip("moto.server", reason="moto, a development dependency, is the server of these tests")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = """
from moto.server import ThreadedMotoServer
import sys
server = ThreadedMotoServer("127.0.0.1", 0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Yield the port of a server."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = next(int(line.split()[1]) for line in process.stdout if line.startswith("port"))
    yield port
    with closing(process.stdout):
        process.stdin.close()
        process.kill()
        process.wait()


@pytest.fixture
def bucket(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield an empty bucket, whose server's address is in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with urlopen(Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")):
        pass
    with urlopen(Request(f"http://127.0.0.1:{port}/archive", method="PUT")):
        pass
    open_bucket.cache_clear()
    yield open_bucket("s3://archive")
    open_bucket.cache_clear()


def test_objects_in_and_parts_out(bucket: Any, images: Path, toy_bundle: Path, tmp_path: Path) -> None:
    for path in images.rglob("*.*"):
        obstore.put(bucket, f"scans/{path.relative_to(images)}", path.read_bytes())
    options = BatchOptions(part_rows=8)
    report = batch.run("s3://archive/scans", "s3://archive/vectors", model=toy_bundle, options=options)
    assert (report.rows, report.parts, dict(report.errors)) == (21, 3, {"image_not_an_image": 1})
    rows = []
    for index in range(3):
        path = tmp_path / f"{index}.parquet"
        path.write_bytes(bytes(obstore.get(bucket, f"vectors/part-00000{index}.parquet").bytes()))
        rows += pq.read_table(path).to_pylist()
    assert list(rows[0]) == COLUMNS
    assert sorted(row["key"] for row in rows) == sorted(
        f"s3://archive/scans/{path.relative_to(images)}" for path in images.rglob("*.png")
    )
    good = [row for row in rows if row["embedding"]]
    local = [images / row["key"].removeprefix("s3://archive/scans/") for row in good]
    assert [row["embedding"] for row in good] == MedImageInsight.load(toy_bundle).embed_images(local).tolist()

    obstore.delete(bucket, "vectors/part-000001.parquet")
    again = batch.run("s3://archive/scans", "s3://archive/vectors", model=toy_bundle, options=options)
    assert (again.done, again.earlier) == (8, 13)
    obstore.put(bucket, "scans/00.png", (images / "02.png").read_bytes())
    with pytest.raises(InputError) as error:
        batch.run("s3://archive/scans", "s3://archive/vectors", model=toy_bundle, options=options)
    assert error.value.code == "batch_inputs_changed"


def test_a_table_in_a_bucket(bucket: Any, images: Path, toy_bundle: Path, tmp_path: Path) -> None:
    obstore.put(bucket, "in/a.png", (images / "00.png").read_bytes())
    table = "key,path\nx,a.png\ny,s3://archive/in/a.png\nz,s3://archive/in/none.png\n"
    obstore.put(bucket, "in/table.csv", table.encode())
    report = batch.run("s3://archive/in/table.csv", tmp_path / "out", model=toy_bundle)
    assert dict(report.errors) == {"image_not_found": 1}
    rows = pq.read_table(tmp_path / "out" / "part-000000.parquet").to_pylist()
    assert [(row["key"], row["error_code"]) for row in rows] == [("x", None), ("y", None), ("z", "image_not_found")]


def test_an_object_is_created_once(bucket: Any) -> None:
    storage = open_storage("s3://archive/out")
    assert storage.create("a", b"first")
    assert not storage.create("a", b"second")
    assert storage.read("a", limit=10) == b"first"
    assert list(storage.names("")) == ["a"]
    storage.replace("a", iter([b"long", b"er"]))
    assert storage.read("a", limit=10) == b"longer"
    storage.delete("a")
    storage.delete("a")
    assert storage.read("a", limit=10) is None
