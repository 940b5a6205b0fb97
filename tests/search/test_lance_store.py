"""Features of LanceDB stores only."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.errors import StoreError
from tests.search.sample_items import IDENTITY, item, vectors

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_compact_erases_deleted_and_replaced_data_from_the_disk(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(f"row{number}", note=f"n{number}") for number in range(100)])
        store.add([item("Jane-Doe", note="secret-note"), item("other", note="old-note")])
        store.build_index()
        assert b"Jane-Doe" in bytes_of(folder)
        store.delete(["Jane-Doe"])
        store.update([item("other", note="new-note")])
        store.compact()
        content = bytes_of(folder)
        assert b"Jane-Doe" not in content
        assert b"secret-note" not in content
        assert b"old-note" not in content
        assert b"new-note" in content
        assert store.count() == 101


def test_compact_erases_one_of_many_rows_and_open_stores_stay_usable(folder):
    with search.create_store(folder, identity=IDENTITY) as store, search.open_store(folder) as other:
        store.add([*(item(f"row{number}", n=number) for number in range(300)), item("Jane-Doe", n=-1)])
        assert other.existing(["Jane-Doe"]) == {"Jane-Doe"}
        store.delete(["Jane-Doe"])
        store.compact()
        assert b"Jane-Doe" not in bytes_of(folder)
        assert other.count() == store.count() == 300
        assert other.identity == search.open_store(folder).identity
        other.add([item("new", n=5)])
        assert store.search(item("new").embedding, k=1, where="n = 5")[0].id == "new"


@pytest.mark.parametrize(("dim", "kind"), [(64, "IVF_RQ"), (20, "IVF_FLAT")])
def test_index_searches_have_high_recall_and_exact_scores(folder, dim, kind):
    given = vectors(3000, dim)
    with search.create_store(folder, identity=dataclasses.replace(IDENTITY, embedding_dim=dim)) as store:
        store.add([item(number, embedding, part=number % 3) for number, embedding in enumerate(given)])
        store.build_index()
        assert store.index().kind == kind
        assert search.measure_recall(store, sample=50).recall >= 0.99
        for query in vectors(5, dim, seed=7):
            scores = given @ query
            for where, chosen in ((None, scores), ("part = 1", scores[1::3])):
                hits = store.search(query, k=20, where=where)
                assert [hit.score for hit in hits] == pytest.approx(np.sort(chosen)[::-1][:20], abs=0.02)
                assert all(hit.score == pytest.approx(float(scores[int(hit.id)]), abs=1e-5) for hit in hits)


def test_filter_matches_rows_in_distant_partitions(folder, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.lance_index.TRAINING_ROWS", 10)
    monkeypatch.setattr("medimageinsight.search.lance_index.MIN_PROBES", 1)
    monkeypatch.setattr("medimageinsight.search.lance_index.MAX_SCANNED_ROWS", -1)
    near, far = np.eye(8, dtype=np.float32)[:2]
    scattered = vectors(1100)
    given = scattered[(scattered @ near < 0.9) & (scattered @ far < 0.9)][:900]
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(number, embedding, kind="scattered") for number, embedding in enumerate(given)])
        store.add([item(f"far{number}", far, kind="far") for number in range(15)])
        store.build_index()
        found = store.search(near, k=12, where="kind = 'far'")
        assert len(found) == 12
        assert {hit.metadata["kind"] for hit in found} == {"far"}


def test_finds_columns_and_rows_newer_than_the_indexes(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(number, note="old") for number in range(300)])
        store.build_index()
        store.add([item("new", note="new", stage=3)])
        store.update([item(5, note="changed")])
        store.delete(["6"])
        assert store.existing(["5", "6", "new"]) == {"5", "new"}
        assert store.count(where="note = 'old'") == 298
        assert [hit.id for hit in store.search(item("new").embedding, where="stage >= 3")] == ["new"]
        assert [hit.id for hit in store.search(item(5).embedding, where="note = 'changed'")] == ["5"]
        store.compact()
        assert store.count(where="note = 'old'") == 298
        assert store.count(where="stage is null") == 299


def test_maintain_joins_small_files(folder, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.lance_store.MAX_SMALL_FILES", 5)
    with search.create_store(folder, identity=IDENTITY) as store:
        for number in range(8):
            store.add([item(number)])
        store.maintain()
        assert store._table.stats()["fragment_stats"]["num_fragments"] == 1
        assert store.count() == 8


ADD_SHARED_IDS = """
import sys
sys.path.insert(0, sys.argv[1])
from medimageinsight import search
from medimageinsight.errors import InputError
from tests.search.sample_items import item
store, name = search.open_store(sys.argv[2]), sys.argv[3]
for number in range(10):
    try:
        store.add([item(f"shared{number}", who=name), item(f"{name}{number}")])
    except InputError as error:
        print(error.code)
"""


def test_concurrent_processes_add_each_id_once(folder):
    search.create_store(folder, identity=IDENTITY).close()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_SHARED_IDS, str(Path(__file__).parents[1]), str(folder), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("x", "y")
    ]
    refused = [line for worker in workers for line in worker.communicate(timeout=120)[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert refused == ["ids_duplicate"] * 10  # in each pair of calls, the second is refused
    with search.open_store(folder) as store:
        ids = [item_id for block_ids, _ in store.scan() for item_id in block_ids]
    assert len(ids) == len(set(ids)) == 20
    assert sum(item_id.startswith("shared") for item_id in ids) == 10


def test_store_folders_can_be_moved_and_copied(folder, tmp_path):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item("a")])
    shutil.copytree(folder, tmp_path / "copy")
    shutil.move(folder, tmp_path / "moved")
    for name in ("copy", "moved"):
        with search.open_store(tmp_path / name) as store:
            assert [stored.id for stored in store.get(["a"])] == ["a"]


def test_reports_a_damaged_folder(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item("a")])
    for file in (folder / "vectors.lance" / "data").iterdir():
        file.write_bytes(b"damaged")
    with search.open_store(folder) as store, pytest.raises(StoreError) as caught:
        store.get(["a"])
    assert caught.value.code == "store_invalid"
    assert str(folder) not in caught.value.message
