from __future__ import annotations

import importlib.util
import shutil
import threading

import pytest

from medimageinsight.bench import candidate as room
from medimageinsight.bench.candidate import Candidate, unavailable
from medimageinsight.errors import ModelError

CPU = "CPUExecutionProvider"
TEXT = {"batch": 2, "tokens": 5, "length": 9}


def test_a_worker_answers_with_seconds_and_rows(opening, mini):
    with Candidate(opening("bundle", architecture=mini.manifest.architecture)) as bundle:
        bundle.open()
        answer = bundle.time({"batch": 3})
        assert answer["rows"] == 3
        assert answer["seconds"] > 0
        assert bundle.memory().keys() == {"peak", "private"}


@pytest.mark.parametrize("side", ["image", "text"])
def test_eager_pytorch_runs_one_encoder(opening, side):
    pytest.importorskip("torch", reason="needs the extra export")
    with Candidate(opening("eager", side=side)) as eager:
        eager.open()
        assert eager.time(TEXT)["rows"] == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_pytorch_runs(opening):
    pytest.importorskip("torch", reason="needs the extra export")
    with Candidate(opening("compile", side="text")) as compiled:
        compiled.open()
        assert compiled.time(TEXT)["rows"] == 2


def test_openvino_runs_the_bundles_graph(opening, mini):
    pytest.importorskip("openvino", reason="openvino is not installed")
    with Candidate(opening("openvino", architecture=mini.manifest.architecture)) as openvino:
        openvino.open()
        assert openvino.time({"batch": 2})["rows"] == 2


def test_what_a_contestant_raises_keeps_its_code_and_the_worker_goes_on(opening, tmp_path):
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    with Candidate(opening("plain", graph=str(tmp_path / "graph.onnx"))) as plain:
        with pytest.raises(ModelError, match="plain: expected a graph") as failed:
            plain.open()
        assert failed.value.code == "graph_invalid"
        assert plain.memory()


def test_what_a_library_raises_names_no_path(opening):
    with Candidate(opening("bundle", architecture={}, side="image")) as bundle:
        bundle.open()
        with pytest.raises(ModelError) as failed:
            bundle.time({"batch": 1})
    assert failed.value.code == "contestant_failed"
    assert str(failed.value) == "bundle: expected it to run, it failed (KeyError): MI2_DEBUG=1 shows more"


def test_a_worker_that_dies_while_it_is_asked_is_an_error(opening):
    with Candidate(opening("matmul")) as matmul:
        matmul.open()
        threading.Timer(0.1, matmul._process.kill).start()
        with pytest.raises(ModelError, match="signal 9") as died:
            matmul.time({"by": "numpy"})  # goes on for 0.2 s
        assert died.value.code == "bench_worker_died"
        with pytest.raises(ModelError, match="matmul"):
            matmul.memory()


def test_a_worker_that_says_nothing_is_ended(opening):
    with Candidate(opening("matmul"), answer_s=0.01) as matmul, pytest.raises(ModelError, match="said nothing"):
        matmul.open()
    assert matmul._process.poll() is not None


def test_nothing_is_left_running(opening):
    with Candidate(opening("matmul")) as matmul:
        matmul.open()
    assert matmul._process.poll() is not None
    matmul.close()


def test_a_baseline_that_is_not_installed_says_what_it_needs(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        room.importlib.util, "find_spec", lambda name: None if name in {"torch", "openvino"} else real(name)
    )
    assert unavailable("eager", CPU) == unavailable("compile", CPU) == unavailable("plain", CPU)
    assert unavailable("eager", CPU) == "needs the extra 'export'"
    assert unavailable("openvino", CPU) == "needs openvino: pip install openvino"


def test_a_baseline_on_another_device_is_no_comparison(monkeypatch):
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: object())
    assert unavailable("openvino", CPU) is None
    assert "another device" in unavailable("openvino", "CUDAExecutionProvider")
    assert unavailable("eager", "CUDAExecutionProvider") is None
    assert "another device" in unavailable("eager", "CoreMLExecutionProvider")
