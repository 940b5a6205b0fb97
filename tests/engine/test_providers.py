"""The choice of a device, and devices that cannot be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort
import pytest

from medimageinsight.bundle import IMAGE_ENCODER
from medimageinsight.engine import Session, choose_providers
from medimageinsight.engine.providers import (
    COREML,
    CPU,
    CUDA,
    DIRECTML,
    OPENVINO,
    TENSORRT,
    computes_half,
    provider_options,
    stores_compiled,
)
from medimageinsight.errors import InputError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

ALL = [TENSORRT, CUDA, COREML, DIRECTML, OPENVINO, CPU]


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch):
    def set_available(*names: str) -> None:
        monkeypatch.setattr(ort, "get_available_providers", lambda: list(names))

    return set_available


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ([CPU], [CPU]),
        ([TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ([DIRECTML, CPU], [DIRECTML, CPU]),
        ([OPENVINO, CPU], [OPENVINO, CPU]),
        ([COREML, CPU], [CPU]),
        (["AzureExecutionProvider", CPU], [CPU]),
    ],
)
def test_the_best_installed_provider_is_the_default(available, installed: list[str], chosen: list[str]) -> None:
    available(*installed)
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
def test_providers_by_name(available, names: list[str] | str, chosen: list[str]) -> None:
    available(*ALL)
    assert choose_providers(names) == chosen


def test_tensorrt_without_cuda(available) -> None:
    available(TENSORRT, CPU)
    assert choose_providers(["tensorrt"]) == [TENSORRT, CPU]


def test_an_unavailable_provider_is_refused(available) -> None:
    available(CUDA, CPU)
    with pytest.raises(InputError, match="expected providers among cuda, cpu, got directml") as caught:
        choose_providers(["directml"])
    assert caught.value.code == "provider_unknown"


def test_options_select_float32() -> None:
    assert provider_options(CUDA)["use_tf32"] == "0"
    assert provider_options(OPENVINO)["precision"] == "FP32"
    assert provider_options(TENSORRT)["trt_fp16_enable"] == "0"
    assert provider_options(COREML)["ModelFormat"] == "MLProgram"
    assert provider_options(CPU) == {}


def test_cuda_graphs_are_optional() -> None:
    assert "enable_cuda_graph" not in provider_options(CUDA)
    assert provider_options(CUDA, cuda_graph=True)["enable_cuda_graph"] == "1"


@pytest.mark.parametrize("provider", ALL)
def test_compiled_graphs_are_stored_in_the_folder(provider: str, tmp_path: Path) -> None:
    options = provider_options(provider, cache=tmp_path)
    assert (str(tmp_path) in options.values()) == stores_compiled(provider)
    assert str(tmp_path) not in provider_options(provider).values()


# Without the filter, ONNX Runtime's warning is an error; with it, ONNX Runtime continues on the CPU.
FAILURES = pytest.mark.parametrize(
    "failure", [pytest.param("raises"), pytest.param("continues", marks=pytest.mark.filterwarnings("ignore"))]
)


@FAILURES
def test_a_default_device_that_cannot_be_started_is_replaced_by_the_cpu(
    available, toy_bundle: Path, failure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    available(CUDA, CPU)
    assert Session(toy_bundle / IMAGE_ENCODER).providers == [CPU]
    assert capsys.readouterr().out == ""


@FAILURES
def test_a_requested_device_that_cannot_be_started_is_an_error(available, toy_bundle: Path, failure: str) -> None:
    available(CUDA, CPU)
    with pytest.raises(ModelError, match="drivers") as caught:
        Session(toy_bundle / IMAGE_ENCODER, providers=["cuda"])
    assert caught.value.code == "provider_unavailable"


@FAILURES
def test_the_cpu_uses_the_copy_after_a_failed_device(available, large_graph: Path, failure: str) -> None:
    from medimageinsight.engine.graph_cache import graph_copy

    available(CUDA, CPU)
    copy = graph_copy(large_graph, ["a"])
    assert copy is not None
    assert Session(large_graph, copy=copy).providers == [CPU]
    assert copy.is_complete()


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime warns of the missing device
@pytest.mark.parametrize("providers", [None, ["cuda"], ["cpu"]])
def test_an_invalid_graph_is_reported_on_any_device(available, tmp_path: Path, providers: list[str] | None) -> None:
    available(CUDA, CPU)
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError) as caught:
        Session(tmp_path / "bad.onnx", providers=providers)
    assert caught.value.code == "graph_invalid"


def test_only_gpus_compute_in_half_precision():
    assert [computes_half(name) for name in (CUDA, TENSORRT, DIRECTML, CPU, OPENVINO)] == [True] * 3 + [False] * 2
