"""Description of the machine and libraries that a measurement was made with."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medimageinsight.version import __version__

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "torch", "openvino")


def describe_machine(threads: int, provider: str) -> dict[str, str | int]:
    """Return processor, cores, threads, execution provider, and the versions of the installed libraries."""
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
    """Return the processor's name from ``/proc/cpuinfo``, else from `platform`."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
