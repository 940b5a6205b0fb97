"""Copies of large graphs: equal bits, complete or not existing, and never the cause of an error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medimageinsight.bundle import IMAGE_ENCODER, Bundle, Manifest, write_manifest
from medimageinsight.engine import Engine, Session, clear_graph_cache, graph_cache
from medimageinsight.engine.graph_cache import DATA, GRAPH, RECORD, GraphCopy, cache_folder, device_cache, graph_copy
from medimageinsight.errors import BundleError, ModelError
from tests.toy import SIZE

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no POSIX permissions")


def make_copy(graph: Path, *checksums: str) -> GraphCopy:
    copy = graph_copy(graph, checksums or ("a", "b"))
    assert copy is not None
    return copy


def run(graph: Path, x: np.ndarray, copy: GraphCopy | None = None, *, threads: int = 1) -> bytes:
    return Session(graph, providers=["cpu"], threads=threads, copy=copy).run("y", {"x": x}).tobytes()


def entries() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir()) if cache_folder().is_dir() else []


def test_a_copy_is_written_once_and_gives_the_same_bits(large_graph: Path, x: np.ndarray) -> None:
    plain, copy = run(large_graph, x), make_copy(large_graph)
    assert not copy.is_complete()
    assert run(large_graph, x, copy) == plain
    assert entries() == [copy.key]
    written = copy.graph.stat().st_mtime_ns
    assert run(large_graph, x, copy) == plain
    assert copy.graph.stat().st_mtime_ns == written


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/maps")
def test_the_copy_is_memory_mapped(large_graph: Path, x: np.ndarray) -> None:
    copy = make_copy(large_graph)
    session = Session(large_graph, providers=["cpu"], copy=copy)
    assert str(copy.folder / DATA) in Path("/proc/self/maps").read_text()
    session.run("y", {"x": x})


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_copy_works_with_any_number_of_threads(large_graph: Path, x: np.ndarray, threads: int) -> None:
    copy = make_copy(large_graph)
    run(large_graph, x, copy, threads=2)
    assert run(large_graph, x, copy, threads=threads) == run(large_graph, x, threads=threads)


def test_small_graphs_have_no_copy(toy_bundle: Path, large_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert graph_copy(toy_bundle / IMAGE_ENCODER, ["a"]) is None
    monkeypatch.setattr(graph_cache, "MIN_BYTES", 10**6)
    assert graph_copy(large_graph, ["a"]) is None


def test_the_cache_can_be_disabled(large_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI2_GRAPH_CACHE", "0")
    assert graph_copy(large_graph, ["a"]) is None


def test_the_key_depends_on_content_and_runtime(large_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime as ort

    key = make_copy(large_graph, "a", "b").key
    assert make_copy(large_graph, "a", "b").key == key
    assert make_copy(large_graph, "a", "c").key != key
    monkeypatch.setattr(ort, "__version__", "0.1.0")
    assert make_copy(large_graph, "a", "b").key != key


def truncate(copy: GraphCopy) -> None:
    os.truncate(copy.folder / DATA, 1000)


def change_weights(copy: GraphCopy) -> None:
    content = (copy.folder / DATA).read_bytes()
    (copy.folder / DATA).write_bytes(bytes(byte ^ 1 for byte in content))


def break_graph(copy: GraphCopy) -> None:
    copy.graph.write_bytes(b"?" * copy.graph.stat().st_size)


def lose_record(copy: GraphCopy) -> None:
    (copy.folder / RECORD).unlink()


def break_record(copy: GraphCopy) -> None:
    (copy.folder / RECORD).write_text("[[[")


def link_data(copy: GraphCopy) -> None:
    (copy.folder / DATA).rename(copy.folder / "elsewhere")
    (copy.folder / DATA).symlink_to(copy.folder / "elsewhere")


@pytest.mark.parametrize("damage", [truncate, break_graph, lose_record, break_record, link_data])
def test_a_damaged_copy_is_replaced(large_graph: Path, x: np.ndarray, damage) -> None:
    plain, copy = run(large_graph, x), make_copy(large_graph)
    run(large_graph, x, copy)
    damage(copy)
    assert run(large_graph, x, copy) == plain
    assert copy.is_complete()
    assert json.loads((copy.folder / RECORD).read_text())["files"][GRAPH] == copy.graph.stat().st_size
    assert run(large_graph, x, copy) == plain


@pytest.mark.parametrize("name", [GRAPH, DATA])
def test_each_single_bit_that_flips_is_detected(large_graph: Path, x: np.ndarray, name: str) -> None:
    plain, copy = run(large_graph, x), make_copy(large_graph)
    run(large_graph, x, copy)
    content = (copy.folder / name).read_bytes()
    for offset in np.linspace(0, len(content) - 1, 25).astype(int):
        damaged = bytearray(content)
        damaged[offset] ^= 0x40
        (copy.folder / name).write_bytes(damaged)
        assert run(large_graph, x, copy) == plain
        assert copy.is_complete()
        assert (copy.folder / name).read_bytes() == content


def replace_by_one_that_fails(copy: GraphCopy) -> None:
    """Exchange the copy for a complete one of a graph that loads and does not run: its rows cannot be reshaped."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape = onnx.numpy_helper.from_array(np.array([7, 8], dtype=np.int64), "shape")
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "fails",
        [helper.make_tensor_value_info("x", floats, ["batch", 64])],
        [helper.make_tensor_value_info("y", floats, ["batch", 8])],
        initializer=[shape],
    )
    copy.remove()
    with copy.writing() as folder:
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / GRAPH)
        (folder / DATA).write_bytes(b"")


def test_a_copy_that_fails_to_run_is_written_again(large_graph: Path, x: np.ndarray) -> None:
    plain, copy = run(large_graph, x), make_copy(large_graph)
    replace_by_one_that_fails(copy)
    assert copy.is_complete()
    session = Session(large_graph, providers=["cpu"], threads=1, copy=copy)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: session.run("y", {"x": x}).tobytes(), range(8)))
    assert results == [plain] * 8
    assert entries() == [copy.key]
    assert run(large_graph, x, copy) == plain


def test_a_run_that_fails_on_every_copy_is_an_error(large_graph: Path, x: np.ndarray) -> None:
    session = Session(large_graph, providers=["cpu"], copy=(copy := make_copy(large_graph)))
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            session.run("y", {"x": np.full_like(x, np.nan)})
        assert caught.value.code == "inference_not_finite"
    written = copy.graph.stat().st_mtime_ns
    session.run("y", {"x": x})
    assert copy.graph.stat().st_mtime_ns == written


def test_a_changed_packed_weight_is_detected(large_graph: Path, x: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx")
    plain, copy = run(large_graph, x), make_copy(large_graph)
    run(large_graph, x, copy)
    weights = onnx.load(copy.graph, load_external_data=False).graph.initializer
    packed = [item.value for weight in weights for item in weight.external_data if item.key.startswith("prepacked")]
    offset = int(packed[0].split("|")[1].split(";")[0])
    with (copy.folder / DATA).open("rb+") as file:
        file.seek(offset)
        file.write(b"\x40" * 64)
    assert run(large_graph, x, copy) == plain
    assert copy.is_complete()


def test_an_unusable_cache_folder_is_ignored(large_graph: Path, x: np.ndarray, home: Path) -> None:
    home.mkdir()
    (home / "cache").write_text("a file where the folder should be")
    assert run(large_graph, x, make_copy(large_graph)) == run(large_graph, x)
    assert device_cache("CoreMLExecutionProvider", "key") is None


def test_too_little_disk_space_means_no_copy(large_graph: Path, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 99, 1))
    assert run(large_graph, x, make_copy(large_graph)) == run(large_graph, x)
    assert entries() == []


@posix
def test_a_disk_that_is_full_while_writing_means_no_copy(large_graph: Path, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    program = (
        "import resource, sys, numpy as np; from pathlib import Path\n"
        "from medimageinsight.engine import Session, graph_cache; graph_cache.MIN_BYTES = 1\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "graph = Path(sys.argv[1]); copy = graph_cache.graph_copy(graph, ['a', 'b'])\n"
        "session = Session(graph, providers=['cpu'], threads=1, copy=copy)\n"
        "sys.stdout.buffer.write(session.run('y', {'x': np.load(sys.argv[2])}).tobytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(large_graph), str(tmp_path / "x.npy")], capture_output=True, check=True
    )
    assert done.stdout == run(large_graph, x)
    assert not make_copy(large_graph).is_complete()
    assert entries() == []


@posix
def test_the_cache_is_private_to_its_owner(large_graph: Path, x: np.ndarray) -> None:
    copy = make_copy(large_graph)
    run(large_graph, x, copy)
    assert cache_folder().stat().st_mode & 0o777 == copy.folder.stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("of_copy", [True, False])
def test_a_folder_that_others_can_write_to_is_not_used(large_graph: Path, x: np.ndarray, *, of_copy: bool) -> None:
    plain, copy = run(large_graph, x), make_copy(large_graph)
    run(large_graph, x, copy)
    (copy.folder if of_copy else cache_folder()).chmod(0o777)
    assert not copy.is_complete()
    assert run(large_graph, x, copy) == plain


def test_concurrent_writers(large_graph: Path, x: np.ndarray) -> None:
    plain = run(large_graph, x)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(large_graph, x, make_copy(large_graph)), range(8)))
    assert results == [plain] * 8
    assert entries() == [make_copy(large_graph).key]


def test_a_copy_written_by_another_process_is_used(large_graph: Path, x: np.ndarray) -> None:
    copy = make_copy(large_graph)
    with copy.writing() as folder:
        run(large_graph, x, copy)
        shutil.copytree(copy.folder, folder, dirs_exist_ok=True)
    assert copy.is_complete()
    assert entries() == [copy.key]


def test_a_failed_writer_leaves_no_files(large_graph: Path) -> None:
    def write_half() -> None:
        with make_copy(large_graph).writing() as folder:
            (folder / GRAPH).write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert entries() == []


def test_the_folder_of_a_killed_writer_is_removed_later(large_graph: Path, x: np.ndarray) -> None:
    killed, running = (cache_folder() / f".{'0' * 32}-{name}" for name in ("deadbeef", "0badcafe"))
    for folder in (killed, running):
        folder.mkdir(parents=True, mode=0o700)
    cache_folder().chmod(0o700)
    os.utime(killed, (0, 0))
    run(large_graph, x, make_copy(large_graph))
    assert not killed.exists()
    assert running.exists()


def test_earlier_copies_of_a_graph_are_removed(large_graph: Path, x: np.ndarray, tmp_path: Path) -> None:
    other_graph = shutil.copytree(large_graph.parent, tmp_path / "other") / large_graph.name
    run(other_graph, x, other_copy := make_copy(other_graph, "c"))
    run(large_graph, x, earlier := make_copy(large_graph, "a"))
    run(large_graph, x, foreign := make_copy(large_graph, "b"))
    assert not earlier.is_complete()
    record = json.loads((foreign.folder / RECORD).read_text())
    (foreign.folder / RECORD).write_text(json.dumps(record | {"cpu": "another machine's"}))
    run(large_graph, x, latest := make_copy(large_graph, "d"))
    assert entries() == sorted([other_copy.key, foreign.key, latest.key])


def test_clear_returns_the_freed_size(large_graph: Path, x: np.ndarray) -> None:
    assert clear_graph_cache() == 0
    run(large_graph, x, copy := make_copy(large_graph))
    assert clear_graph_cache() > (large_graph.parent / (large_graph.name + ".data")).stat().st_size
    assert not copy.is_complete()


def test_a_graph_that_cannot_be_loaded_is_still_an_error(large_graph: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(large_graph.parent, tmp_path / "broken") / large_graph.name
    broken.write_bytes(b"no graph")
    with pytest.raises(ModelError) as caught:
        Session(broken, copy=make_copy(broken))
    assert caught.value.code == "graph_invalid"
    assert entries() == []


@pytest.fixture
def large_bundle(toy_bundle: Path, tmp_path: Path) -> Path:
    """Return the toy bundle with external weights for its image encoder."""
    onnx = pytest.importorskip("onnx", reason="making a graph needs the export extra")
    folder, data = shutil.copytree(toy_bundle, tmp_path / "bundle"), IMAGE_ENCODER + ".data"
    model = onnx.load(folder / IMAGE_ENCODER)
    onnx.save(model, folder / IMAGE_ENCODER, save_as_external_data=True, location=data, size_threshold=0)
    write_manifest(folder, Manifest.load(folder), (*Manifest.load(folder).files, data))
    return folder


def embed(bundle: Path) -> bytes:
    pixels = np.random.default_rng(3).standard_normal((2, 3, SIZE, SIZE), dtype=np.float32)
    with Engine(Bundle.open(bundle), providers=["cpu"], threads=1) as engine:
        return engine.embed_pixels(pixels).tobytes()


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_an_engine_makes_its_copy_of_verified_files(large_bundle: Path) -> None:
    change_a_byte(large_bundle / (IMAGE_ENCODER + ".data"))
    with pytest.raises(BundleError) as caught:
        embed(large_bundle)
    assert caught.value.code == "bundle_checksum"
    assert entries() == []


def test_an_engine_with_a_copy_does_not_read_the_graph(large_bundle: Path, toy_bundle: Path) -> None:
    first = embed(large_bundle)
    assert len(entries()) == 1
    change_a_byte(large_bundle / (IMAGE_ENCODER + ".data"))
    assert embed(large_bundle) == first == embed(toy_bundle)
    clear_graph_cache()
    with pytest.raises(BundleError):
        embed(large_bundle)
