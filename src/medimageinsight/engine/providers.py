"""Execution providers of ONNX Runtime, and the options that make them compute in float32.

This project has measured the CPU. The options of other devices follow ONNX Runtime's documentation; their results can
be checked on the machine itself with ``mi2 verify`` and a comparison of embeddings.
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

# Used by default, best first. Each comes in a wheel of its own (onnxruntime-gpu, -directml, -openvino), which somebody
# installed on purpose. Two are used on request only: TensorRT builds its engines for minutes, again for each new shape,
# and the CUDA wheel lists it even where its libraries are missing; CoreML is in every wheel for the Mac and compiles
# the graph for its device at each first load.
_AUTOMATIC = (CUDA, DIRECTML, OPENVINO, CPU)

# Runs the nodes that a device does not support, before the CPU does.
_FALLBACK = {TENSORRT: CUDA}
_ALIASES = {"directml": "dml"}


def choose_providers(requested: Sequence[str] | None = None) -> list[str]:
    """Return ONNX Runtime's execution providers in order of preference, the CPU last.

    Args:
        requested: Names such as ``cuda``, ``tensorrt``, ``openvino``, ``coreml``, ``directml`` and ``cpu``, or ONNX
            Runtime's own (``CUDAExecutionProvider``). By default the best of CUDA, DirectML and OpenVINO that this
            ONNX Runtime has, else the CPU.

    Raises:
        InputError: This ONNX Runtime has no provider of a name (``provider_unknown``).
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
            "other devices need another build of onnxruntime",
            code="provider_unknown",
        )
    chosen = [by_short_name[_short(name)] for name in names]
    fallbacks = [_FALLBACK[name] for name in chosen if _FALLBACK.get(name) in available]
    return list(dict.fromkeys([*chosen, *fallbacks, CPU]))


def provider_options(provider: str, *, cache: Path | None = None, cuda_graph: bool = False) -> dict[str, str]:
    """Return the options of a provider.

    Args:
        provider: ONNX Runtime's name.
        cache: A folder for compiled files of this graph and this ONNX Runtime alone: providers find their files by
            names and shapes, and would use those of other weights. None to store nothing.
        cuda_graph: Let CUDA record the whole graph once and replay it.
    """
    if provider == CUDA:
        # TF32 has 10 of float32's 23 mantissa bits. The search for the fastest convolution is exhaustive by default:
        # seconds for each new shape, and each time it may choose another algorithm, with other last bits.
        options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        return options | {"enable_cuda_graph": "1"} if cuda_graph else options
    if provider == TENSORRT:
        # Half precision is off by default; TF32 is on, and only NVIDIA_TF32_OVERRIDE=0 in the environment disables it.
        options = {"trt_fp16_enable": "0", "trt_int8_enable": "0"}
        caches = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
        paths = {"trt_engine_cache_path": str(cache), "trt_timing_cache_path": str(cache)}
        return options | caches | paths if cache else options
    if provider == OPENVINO:
        # Its GPUs compute in float16 by default. FP32 is the only value that both CPU and GPU accept; an NPU has none.
        options = {"precision": "FP32"}
        return options | {"cache_dir": str(cache)} if cache else options
    if provider == COREML:
        # The older format, NeuralNetwork, has no types and may be computed in float16. An ML program stays in float32.
        options = {"ModelFormat": "MLProgram", "AllowLowPrecisionAccumulationOnGPU": "0"}
        return options | {"ModelCacheDirectory": str(cache)} if cache else options
    return {}


def computes_half(provider: str) -> bool:
    """Return whether the provider computes a bundle with float16 weights in float16; a CPU would be slower with it."""
    return provider in (CUDA, TENSORRT, DIRECTML)


def stores_compiled(provider: str) -> bool:
    """Return whether the provider compiles graphs and can store the result in a folder."""
    return provider in (TENSORRT, OPENVINO, COREML)


def _short(provider: str) -> str:
    """Return the short name of a provider: ``cuda`` for ``CUDAExecutionProvider``."""
    name = provider.lower().removesuffix("executionprovider")
    return _ALIASES.get(name, name)
