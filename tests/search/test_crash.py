"""Stores survive killed writers and full disks."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from medimageinsight import search
from medimageinsight.errors import StoreError
from tests.search.postgres_server import running_postgres
from tests.search.sample_items import IDENTITY, item, vectors

HERE = Path(__file__).parents[1]

ADD_FOREVER = """
import sys
sys.path.insert(0, sys.argv[1])
from medimageinsight import search
from tests.search.postgres_server import running_postgres
from tests.search.sample_items import item
store = search.open_store(sys.argv[2])
number = 0
while True:
    ids = [f"{sys.argv[3]}-{number}-{index}" for index in range(20)]
    store.add([item(name, note=name, **{f"column{number % 5}": number}) for name in ids])
    print(*ids, flush=True)
    number += 1
"""

UPDATE_FOREVER = """
import sys
sys.path.insert(0, sys.argv[1])
from medimageinsight import search
from tests.search.postgres_server import running_postgres
from tests.search.sample_items import item
store = search.open_store(sys.argv[2])
number = 1
while True:
    store.update([item(f"u{index}", round=number) for index in range(20)])
    print(number, flush=True)
    number += 1
"""

FILL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from medimageinsight import search
from medimageinsight.errors import StoreError
from tests.search.postgres_server import running_postgres
from tests.search.sample_items import item
store = search.open_store(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.add([item(f"big{number}", note="x" * 100 + str(number)) for number in range(5000)])
except StoreError as error:
    print(error.code, "|", error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.add([item("after")])
print(store.count())
"""


def run(program: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(HERE), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen, lines: int) -> list[str]:
    """Kill a process (SIGKILL) after a number of printed lines, and return all complete lines."""
    with process:
        read = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
        assert all(read), process.stderr.read()
    return [line.rstrip("\n") for line in [*read, *rest] if line.endswith("\n")]


def test_killing_a_writer_loses_no_acknowledged_item(store, location):
    acknowledged = []
    for round_ in range(3):  # each is killed at a different moment
        lines = kill_after(run(ADD_FOREVER, location, str(round_)), 3 + round_)
        acknowledged += [item_id for line in lines for item_id in line.split()]
    assert len(acknowledged) == len(set(acknowledged)) >= 20 * (3 + 4 + 5)
    with search.open_store(location) as opened:
        found = {stored.id: stored for stored in opened.get(acknowledged)}
        assert all(stored.metadata["note"] == stored.id for stored in found.values())
        count = opened.count()
        assert count % 20 == 0  # batches are atomic
        assert len(acknowledged) <= count <= len(acknowledged) + 3 * 20
        opened.add([item("after")])
        assert opened.search(item("after").embedding, k=1)[0].score == pytest.approx(1, abs=1e-6)
        opened.compact()
        assert opened.count() == count + 1


def test_killing_an_updater_leaves_one_version_of_each_item(store, location):
    store.add([item(f"u{index}", round=0) for index in range(20)])
    last = int(kill_after(run(UPDATE_FOREVER, location), 3)[-1])
    with search.open_store(location) as opened:
        rounds = {stored.metadata["round"] for stored in opened.get([f"u{index}" for index in range(20)])}
        assert len(rounds) == 1
        assert rounds <= {last, last + 1}
        assert opened.count() == 20


def test_a_full_disk_is_reported_and_the_store_stays_usable(locate):
    pytest.importorskip("resource", reason="this system has no limit on a file's size")
    location = locate("lancedb")
    with search.create_store(location, identity=IDENTITY) as new_store:
        new_store.add([item("before")])
    process = run(FILL_DISK, location)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    first, count = out.splitlines()
    assert first.startswith("store_not_writable | ")
    assert "nothing of this call was written" in first
    assert location not in first
    assert count == "2"
    with search.open_store(location) as opened:
        assert opened.existing(["before", "after", "big0"]) == {"before", "after"}


def test_a_full_server_disk_is_reported_and_the_store_stays_usable():
    dim = 2000
    identity = dataclasses.replace(IDENTITY, embedding_dim=dim)
    embeddings = vectors(4000, dim)
    # Above 16 MiB, the size of the server's log files, which are not tables and must be written.
    with running_postgres(max_file_size=20 << 20) as url, search.create_store(url, identity=identity) as new_store:
        new_store.add([search.Item(id="before", embedding=embeddings[0])])
        with pytest.raises(StoreError) as caught:
            new_store.add([search.Item(id=str(number), embedding=row) for number, row in enumerate(embeddings)])
        assert caught.value.code == "store_not_writable"
        assert new_store.count() == 1
        new_store.compact()  # frees space
        new_store.add([search.Item(id="after", embedding=embeddings[1])])
        assert new_store.existing(["before", "after", "0"]) == {"before", "after"}
