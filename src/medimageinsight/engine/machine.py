"""What a run was made on: without it a figure cannot be compared."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medimageinsight.version import __version__

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "torch", "openvino")


def describe_machine(threads: int, provider: str) -> dict[str, str | int]:
    """Processor, cores, threads, execution provider, and the version of each library that is installed."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "provider": provider,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "medimageinsight-onnx": __version__,
        **_versions(),
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as Linux knows it; else what Python tells."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
