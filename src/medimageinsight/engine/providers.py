"""Which device a graph runs on, and the options that keep its numbers those of float32.

Measured by this project: the CPU. The other devices' options follow ONNX Runtime's documentation; what they give can be
checked on the machine itself with ``mi2 verify`` and a comparison of embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
COREML = "CoreMLExecutionProvider"
DIRECTML = "DmlExecutionProvider"

# Taken without being asked for, best first. Each of these comes in a wheel of its own (onnxruntime-gpu, -directml,
# -openvino), so that it is there means that somebody wanted it. Two are used only when they are asked for:
# TensorRT builds its engines for minutes, again for each new shape, and the CUDA wheel lists it even where its
# libraries are missing; CoreML is in every wheel for the Mac and compiles the graph for its device at each first load.
_AUTOMATIC = (CUDA, DIRECTML, OPENVINO, CPU)

# What runs the nodes that a device leaves over, before the CPU does.
_NEXT_BEST = {TENSORRT: CUDA}
_OTHER_NAMES = {"directml": "dml"}


def choose_providers(requested: Sequence[str] | None = None) -> list[str]:
    """ONNX Runtime's execution providers in order of preference, the CPU last.

    Args:
        requested: Names such as ``cuda``, ``tensorrt``, ``openvino``, ``coreml``, ``directml`` and ``cpu``, or ONNX
            Runtime's own (``CUDAExecutionProvider``). When not given, the best of CUDA, DirectML and OpenVINO that
            this ONNX Runtime has, else the CPU.

    Raises:
        InputError: A name is not among those this ONNX Runtime has (``provider_unknown``).
    """
    import onnxruntime as ort

    available = ort.get_available_providers()
    if requested is None:
        best = next(name for name in _AUTOMATIC if name in available)
        return list(dict.fromkeys([best, CPU]))
    names = [requested] if isinstance(requested, str) else requested
    by_short_name = {_short(name): name for name in available}
    unknown = [name for name in names if _short(name) not in by_short_name]
    if unknown or not names:
        raise InputError(
            f"expected providers among {', '.join(by_short_name)}, got {', '.join(unknown) or 'none'}: "
            "another device needs another build of onnxruntime",
            code="provider_unknown",
        )
    chosen = [by_short_name[_short(name)] for name in names]
    after = [_NEXT_BEST[name] for name in chosen if _NEXT_BEST.get(name) in available]
    return list(dict.fromkeys([*chosen, *after, CPU]))


def provider_options(provider: str, *, cache: Path | None = None, cuda_graph: bool = False) -> dict[str, str]:
    """One provider's options.

    Args:
        provider: ONNX Runtime's name.
        cache: A folder for what the provider compiles, of this graph and this ONNX Runtime alone: the providers find
            their files by names and shapes, and would take those of other weights. None to keep nothing.
        cuda_graph: Let CUDA record the whole graph once and replay it.
    """
    if provider == CUDA:
        # TF32 keeps 10 of float32's 23 bits. The search for the fastest convolution is exhaustive by default: seconds
        # for each new shape, and it may choose another algorithm, with other last bits, each time.
        options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        return options | {"enable_cuda_graph": "1"} if cuda_graph else options
    if provider == TENSORRT:
        # Half precision is off unless asked for; TF32 is not, and only NVIDIA_TF32_OVERRIDE=0 in the environment
        # switches it off here.
        options = {"trt_fp16_enable": "0", "trt_int8_enable": "0"}
        kept = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
        paths = {"trt_engine_cache_path": str(cache), "trt_timing_cache_path": str(cache)}
        return options | kept | paths if cache else options
    if provider == OPENVINO:
        # Its GPUs compute in float16 by default. FP32 is the one value that both CPU and GPU accept; an NPU has none.
        options = {"precision": "FP32"}
        return options | {"cache_dir": str(cache)} if cache else options
    if provider == COREML:
        # The older format, NeuralNetwork, has no types: Core ML may compute it in float16. An ML program keeps float32.
        options = {"ModelFormat": "MLProgram", "AllowLowPrecisionAccumulationOnGPU": "0"}
        return options | {"ModelCacheDirectory": str(cache)} if cache else options
    return {}


def computes_half(provider: str) -> bool:
    """Whether a bundle with float16 weights is computed in float16 there, which a CPU would be slower with."""
    return provider in (CUDA, TENSORRT, DIRECTML)


def keeps_compiled(provider: str) -> bool:
    """Whether the provider compiles graphs and can keep what it made in a folder."""
    return provider in (TENSORRT, OPENVINO, COREML)


def _short(provider: str) -> str:
    """``CUDAExecutionProvider`` to ``cuda``."""
    name = provider.lower().removesuffix("executionprovider")
    return _OTHER_NAMES.get(name, name)
