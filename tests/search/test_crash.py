"""A process that is killed while it writes, and a disk that is full."""

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
    ids = [f"{sys.argv[3]}-{number}-{place}" for place in range(20)]
    store.add([item(one, note=one, **{f"column{number % 5}": number}) for one in ids])
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
    store.update([item(f"u{place}", round=number) for place in range(20)])
    print(number, flush=True)
    number += 1
"""

FILL_A_DISK = """
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


def killed_after(process: subprocess.Popen, lines: int) -> list[str]:
    """What a process had printed in whole lines when it was killed (SIGKILL), the given number at least."""
    with process:
        read = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
        assert all(read), process.stderr.read()
    return [line.rstrip("\n") for line in [*read, *rest] if line.endswith("\n")]


def test_a_kill_while_adding_loses_nothing_that_was_acknowledged(store, location):
    acknowledged = []
    for round_ in range(3):  # each is killed at another moment of its work
        lines = killed_after(run(ADD_FOREVER, location, str(round_)), 3 + round_)
        acknowledged += [one for line in lines for one in line.split()]
    assert len(acknowledged) == len(set(acknowledged)) >= 20 * (3 + 4 + 5)
    with search.open_store(location) as opened:
        found = {one.id: one for one in opened.get(acknowledged)}
        assert all(one.metadata["note"] == one.id for one in found.values())
        count = opened.count()
        assert count % 20 == 0  # a batch is there as a whole or not at all
        assert len(acknowledged) <= count <= len(acknowledged) + 3 * 20
        opened.add([item("after")])
        assert opened.search(item("after").embedding, k=1)[0].score == pytest.approx(1, abs=1e-6)
        opened.compact()
        assert opened.count() == count + 1


def test_a_kill_while_updating_leaves_one_version_of_each(store, location):
    store.add([item(f"u{place}", round=0) for place in range(20)])
    last = int(killed_after(run(UPDATE_FOREVER, location), 3)[-1])
    with search.open_store(location) as opened:
        rounds = {one.metadata["round"] for one in opened.get([f"u{place}" for place in range(20)])}
        assert len(rounds) == 1
        assert rounds <= {last, last + 1}
        assert opened.count() == 20


def test_a_full_disk_is_named_and_the_store_goes_on(locate):
    pytest.importorskip("resource", reason="this system has no limit on a file's size")
    location = locate("lancedb")
    with search.create_store(location, identity=IDENTITY) as made:
        made.add([item("before")])
    process = run(FILL_A_DISK, location)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    first, count = out.splitlines()
    assert first.startswith("store_not_writable | ")
    assert "nothing of this call was written" in first
    assert location not in first
    assert count == "2"
    with search.open_store(location) as opened:
        assert opened.existing(["before", "after", "big0"]) == {"before", "after"}


def test_a_server_without_room_is_named_and_the_store_goes_on():
    dim = 2000
    identity = dataclasses.replace(IDENTITY, embedding_dim=dim)
    embeddings = vectors(4000, dim)
    # Above 16 MiB, the size of a file of the server's log, which is no table and has to go on.
    with running_postgres(largest_file=20 << 20) as url, search.create_store(url, identity=identity) as made:
        made.add([search.Item(id="before", embedding=embeddings[0])])
        with pytest.raises(StoreError) as caught:
            made.add([search.Item(id=str(number), embedding=one) for number, one in enumerate(embeddings)])
        assert caught.value.code == "store_not_writable"
        assert made.count() == 1
        made.compact()  # makes room
        made.add([search.Item(id="after", embedding=embeddings[1])])
        assert made.existing(["before", "after", "0"]) == {"before", "after"}
