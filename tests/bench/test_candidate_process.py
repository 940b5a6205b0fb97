from __future__ import annotations

import importlib.util
import shutil
import threading

import pytest

from medimageinsight.bench import candidate_process as candidate_module
from medimageinsight.bench.candidate_process import Candidate, unavailable_reason
from medimageinsight.errors import ModelError

CPU = "CPUExecutionProvider"
TEXT = {"batch": 2, "tokens": 5, "length": 9}


def test_a_worker_answers_with_seconds_and_rows(make_config, mini):
    with Candidate(make_config("bundle", architecture=mini.manifest.architecture)) as bundle:
        bundle.open()
        answer = bundle.time({"batch": 3})
        assert answer["rows"] == 3
        assert answer["seconds"] > 0
        assert bundle.memory().keys() == {"peak", "private"}


@pytest.mark.parametrize("encoder", ["image", "text"])
def test_eager_pytorch_runs_one_encoder(make_config, encoder):
    pytest.importorskip("torch", reason="needs the extra export")
    with Candidate(make_config("eager", encoder=encoder)) as eager:
        eager.open()
        assert eager.time(TEXT)["rows"] == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_pytorch_runs(make_config):
    pytest.importorskip("torch", reason="needs the extra export")
    with Candidate(make_config("compile", encoder="text")) as compiled:
        compiled.open()
        assert compiled.time(TEXT)["rows"] == 2


def test_openvino_runs_the_bundles_graph(make_config, mini):
    pytest.importorskip("openvino", reason="openvino is not installed")
    with Candidate(make_config("openvino", architecture=mini.manifest.architecture)) as openvino:
        openvino.open()
        assert openvino.time({"batch": 2})["rows"] == 2


def test_an_error_of_a_candidate_has_its_own_code_and_the_worker_continues(make_config, tmp_path):
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    with Candidate(make_config("plain", graph=str(tmp_path / "graph.onnx"))) as plain:
        with pytest.raises(ModelError, match="plain: expected a graph") as failed:
            plain.open()
        assert failed.value.code == "graph_invalid"
        assert plain.memory()


def test_an_error_of_a_library_names_no_path(make_config):
    with Candidate(make_config("bundle", architecture={}, encoder="image")) as bundle:
        bundle.open()
        with pytest.raises(ModelError) as failed:
            bundle.time({"batch": 1})
    assert failed.value.code == "contestant_failed"
    assert str(failed.value) == "bundle: expected it to run, it failed (KeyError): MI2_DEBUG=1 shows more"


def test_a_worker_that_dies_during_a_request_is_an_error(make_config):
    with Candidate(make_config("matmul")) as matmul:
        matmul.open()
        threading.Timer(0.1, matmul._process.kill).start()
        with pytest.raises(ModelError, match="signal 9") as died:
            matmul.time({"library": "numpy"})  # runs for 0.2 s
        assert died.value.code == "bench_worker_died"
        with pytest.raises(ModelError, match="matmul"):
            matmul.memory()


def test_a_silent_worker_is_ended(make_config):
    with Candidate(make_config("matmul"), timeout_s=0.01) as matmul, pytest.raises(ModelError, match="was silent"):
        matmul.open()
    assert matmul._process.poll() is not None


def test_the_worker_is_ended(make_config):
    with Candidate(make_config("matmul")) as matmul:
        matmul.open()
    assert matmul._process.poll() is not None
    matmul.close()


def test_a_baseline_that_is_not_installed_names_what_it_needs(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        candidate_module.importlib.util, "find_spec", lambda name: None if name in {"torch", "openvino"} else real(name)
    )
    assert unavailable_reason("eager", CPU) == unavailable_reason("compile", CPU) == unavailable_reason("plain", CPU)
    assert unavailable_reason("eager", CPU) == "needs the extra 'export'"
    assert unavailable_reason("openvino", CPU) == "needs openvino: pip install openvino"


def test_a_baseline_on_another_device_is_no_comparison(monkeypatch):
    monkeypatch.setattr(candidate_module.importlib.util, "find_spec", lambda name: object())
    assert unavailable_reason("openvino", CPU) is None
    assert "another device" in unavailable_reason("openvino", "CUDAExecutionProvider")
    assert unavailable_reason("eager", "CUDAExecutionProvider") is None
    assert "another device" in unavailable_reason("eager", "CoreMLExecutionProvider")
