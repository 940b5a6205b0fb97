"""Which device is chosen, and what happens where it cannot be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort
import pytest

from medimageinsight.bundle.bundle import IMAGE_ENCODER
from medimageinsight.engine import Session, choose_providers
from medimageinsight.engine.providers import (
    COREML,
    CPU,
    CUDA,
    DIRECTML,
    OPENVINO,
    TENSORRT,
    computes_half,
    keeps_compiled,
    provider_options,
)
from medimageinsight.errors import InputError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

ALL = [TENSORRT, CUDA, COREML, DIRECTML, OPENVINO, CPU]


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch):
    def these(*names: str) -> None:
        monkeypatch.setattr(ort, "get_available_providers", lambda: list(names))

    return these


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ([CPU], [CPU]),
        ([TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ([DIRECTML, CPU], [DIRECTML, CPU]),
        ([OPENVINO, CPU], [OPENVINO, CPU]),
        ([COREML, CPU], [CPU]),
        (["AzureExecutionProvider", CPU], [CPU]),
    ],
)
def test_the_best_that_somebody_installed(available, there: list[str], chosen: list[str]) -> None:
    available(*there)
    assert choose_providers() == chosen


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["cuda"], [CUDA, CPU]),
        (["tensorrt"], [TENSORRT, CUDA, CPU]),
        (["openvino"], [OPENVINO, CPU]),
        (["coreml"], [COREML, CPU]),
        (["dml"], [DIRECTML, CPU]),
        (["DirectML"], [DIRECTML, CPU]),
        (["cpu"], [CPU]),
        (["openvino", "cuda"], [OPENVINO, CUDA, CPU]),
        ("cuda", [CUDA, CPU]),
    ],
)
def test_by_name(available, names: list[str] | str, chosen: list[str]) -> None:
    available(*ALL)
    assert choose_providers(names) == chosen


def test_tensorrt_without_cuda(available) -> None:
    available(TENSORRT, CPU)
    assert choose_providers(["tensorrt"]) == [TENSORRT, CPU]


def test_one_that_is_not_there(available) -> None:
    available(CUDA, CPU)
    with pytest.raises(InputError, match="expected providers among cuda, cpu, got directml") as caught:
        choose_providers(["directml"])
    assert caught.value.code == "provider_unknown"


def test_float32_is_kept() -> None:
    assert provider_options(CUDA)["use_tf32"] == "0"
    assert provider_options(OPENVINO)["precision"] == "FP32"
    assert provider_options(TENSORRT)["trt_fp16_enable"] == "0"
    assert provider_options(COREML)["ModelFormat"] == "MLProgram"
    assert provider_options(CPU) == {}


def test_cuda_graphs_are_asked_for() -> None:
    assert "enable_cuda_graph" not in provider_options(CUDA)
    assert provider_options(CUDA, cuda_graph=True)["enable_cuda_graph"] == "1"


@pytest.mark.parametrize("provider", ALL)
def test_compiled_graphs_are_kept_in_a_folder(provider: str, tmp_path: Path) -> None:
    options = provider_options(provider, cache=tmp_path)
    assert (str(tmp_path) in options.values()) == keeps_compiled(provider)
    assert str(tmp_path) not in provider_options(provider).values()


# Without the filter, ONNX Runtime's warning is an error; with it, ONNX Runtime goes on with the CPU.
WAYS = pytest.mark.parametrize(
    "way", [pytest.param("raises"), pytest.param("goes on", marks=pytest.mark.filterwarnings("ignore"))]
)


@WAYS
def test_a_device_that_cannot_be_started_leaves_its_place_to_the_cpu(
    available, toy_bundle: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    available(CUDA, CPU)
    assert Session(toy_bundle / IMAGE_ENCODER).providers == [CPU]
    assert capsys.readouterr().out == ""


@WAYS
def test_unless_it_was_asked_for(available, toy_bundle: Path, way: str) -> None:
    available(CUDA, CPU)
    with pytest.raises(ModelError, match="drivers") as caught:
        Session(toy_bundle / IMAGE_ENCODER, providers=["cuda"])
    assert caught.value.code == "provider_unavailable"


@WAYS
def test_the_copy_is_the_cpus(available, large_graph: Path, way: str) -> None:
    from medimageinsight.engine.graph_cache import graph_copy

    available(CUDA, CPU)
    copy = graph_copy(large_graph, ["a"])
    assert copy is not None
    assert Session(large_graph, copy=copy).providers == [CPU]
    assert copy.is_whole()


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's, of a device that is not really there
@pytest.mark.parametrize("providers", [None, ["cuda"], ["cpu"]])
def test_a_bad_graph_is_a_bad_graph_on_any_device(available, tmp_path: Path, providers: list[str] | None) -> None:
    available(CUDA, CPU)
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError) as caught:
        Session(tmp_path / "bad.onnx", providers=providers)
    assert caught.value.code == "graph_invalid"


def test_only_a_gpu_computes_in_half_precision():
    assert [computes_half(name) for name in (CUDA, TENSORRT, DIRECTML, CPU, OPENVINO)] == [True] * 3 + [False] * 2
