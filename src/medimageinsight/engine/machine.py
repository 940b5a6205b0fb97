"""The machine: CPU cores available to this process, and a description for records of measurements."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medimageinsight.version import __version__

_INT8_FEATURES = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the smaller of the process's CPU affinity and its container's quota, at least 1.

    ``os.cpu_count`` counts all cores of the machine; as many threads make a small container slower.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if (cgroup / "cpu.max").is_file():  # version 2
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        cores = int(quota) / int(period)
    except (OSError, ValueError):  # no cgroup, or "max"
        return affinity
    return max(1, min(affinity, math.ceil(cores))) if int(quota) > 0 else affinity


def describe_machine(threads: int, provider: str) -> dict[str, str | int]:
    """Return processor, cores, threads, execution provider, and the versions of the installed libraries."""
    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu", "numpy", "torch", "openvino"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "provider": provider,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "medimageinsight-onnx": __version__,
        **versions,
    }


def lacks_int8_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor is known to have no instructions for products of 8-bit numbers.

    These are VNNI or AMX on x86 and the dot product on ARM. Without them ONNX Runtime multiplies in steps that saturate
    at 16 bits, so that embeddings differ more, and gains no time. False where the system does not list features.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    lists = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return bool(lists) and not _INT8_FEATURES & set(lists[0])


def processor() -> str:
    """Return the processor's name from ``/proc/cpuinfo``, else from `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
