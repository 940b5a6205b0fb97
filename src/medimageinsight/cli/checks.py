"""The checks of ``mi2 doctor``: requirements of a working installation, and its optional parts."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from medimageinsight.cli.examples import example_path
from medimageinsight.errors import MedImageInsightError
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
MIN_MEMORY = 4 * GIB  # the released model's weights alone are 2.5 GB

EXTRAS = {
    "export": ("torch", "safetensors", "yaml", "onnx", "onnxscript"),
    "train": ("torch", "safetensors", "yaml", "onnx", "onnxscript", "matplotlib", "pandas", "pyarrow", "sklearn"),
    "evaluate": ("matplotlib", "pyarrow", "sklearn"),
    "parquet": ("pyarrow",),
    "search": ("lancedb", "pyarrow"),
    "postgres": ("pgvector", "psycopg"),
    "serve": ("fastapi", "httptools", "orjson", "prometheus_client", "pydantic_settings", "uvicorn"),
    "mcp": ("mcp",),
    "client": ("httpx",),
    "heic": ("pillow_heif",),
    "hub": ("huggingface_hub", "httpx2"),
}

# A file of each family of compressed DICOM pixels, from pydicom's own package.
CODECS = {
    "JPEG": "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG 2000": "examples_jpeg2k.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "RLE": "MR_small_RLE.dcm",
}


@dataclass(frozen=True)
class Check:
    """Result of a check; the status ``off`` is an optional part that is not installed."""

    name: str
    status: Literal["ok", "warn", "fail", "off"]
    found: str
    advice: str = ""


def run_checks(model: str | None) -> Iterator[Check]:
    """Run every check in order; none raises."""
    yield check_python()
    yield check_runtime()
    yield check_cores()
    yield check_memory()
    for family, file in CODECS.items():
        yield check_codec(family, file)
    yield check_home()
    yield check_graph_cache()
    yield check_model(model)
    for extra, modules in EXTRAS.items():
        yield check_extra(extra, modules)


def check_python() -> Check:
    """Check the versions of the interpreter and this package."""
    version, tested = platform.python_version(), (3, 11) <= sys.version_info[:2] <= (3, 13)
    found = f"{version} on {platform.system()} {platform.machine()}, medimageinsight-onnx {__version__}"
    if tested:
        return Check("Python", "ok", found)
    return Check("Python", "warn", found, "use Python 3.11 to 3.13")


def check_runtime() -> Check:
    """Check ONNX Runtime and list its devices."""
    try:
        import onnxruntime as ort

        providers = [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]
    except Exception as error:  # a broken wheel raises anything
        return Check("ONNX Runtime", "fail", type(error).__name__, "pip install --force onnxruntime")
    return Check("ONNX Runtime", "ok", f"{ort.__version__}, {', '.join(providers)}")


def check_cores() -> Check:
    """Count the CPU cores, and those that this process may use."""
    from medimageinsight.engine import available_cpus

    total, usable = os.cpu_count() or 1, available_cpus()
    return Check("CPU", "ok", f"{usable} of {total} cores may be used")


def check_memory() -> Check:
    """Check the main memory, or the container's limit."""
    size = _memory()
    if size is None:
        return Check("memory", "ok", "unknown on this system")
    found = f"{size / GIB:.1f} GiB"
    if size < MIN_MEMORY:
        return Check("memory", "warn", found, "enough for mini; the released model needs 4 GiB or more")
    return Check("memory", "ok", found)


def check_codec(family: str, file: str) -> Check:
    """Decode a real DICOM file of one family of compressions."""
    from medimageinsight import images

    name = f"DICOM {family}"
    path = example_path(file)
    if path is None:
        return Check(name, "warn", "pydicom was installed without its example files", "nothing to do")
    try:
        height, width, _ = images.load(path).shape
    except MedImageInsightError as error:
        return Check(name, "fail", error.message, "pip install --force medimageinsight-onnx")
    return Check(name, "ok", f"decoded {width} x {height}")


def check_home() -> Check:
    """Check that the folder of models can be written."""
    from medimageinsight.bundle import home

    folder = home()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check("MI2_HOME", "ok", str(folder))
    except OSError as error:
        return Check("MI2_HOME", "warn", f"{folder}: {error.strerror}", "set MI2_HOME to a folder you may write")


def check_graph_cache() -> Check:
    """Measure the disk space of the optimised copies of large encoders."""
    from medimageinsight.engine import graph_cache_size

    size = graph_cache_size()
    if not size:
        return Check("graph cache", "ok", "empty")
    return Check("graph cache", "ok", f"{size / GIB:.1f} GiB", "mi2 doctor --clear-cache frees it")


def check_model(model: str | None) -> Check:
    """Load the model with its checksums, embed an image twice and compare the bits."""
    from medimageinsight import MedImageInsight

    name = "model" if model is None else f"model {Path(model).name}"
    image = np.linspace(0, 255, 256 * 256).astype(np.uint8).reshape(256, 256)
    try:
        with MedImageInsight.load(model) as loaded:
            first = loaded.embed_images(image)
            start = time.perf_counter()
            again = loaded.embed_images(image)
            duration = time.perf_counter() - start
            text = loaded.embed_texts("x-ray chest")
    except MedImageInsightError as error:
        return Check(name, "fail", error.message, "see mi2 models")
    found = f"{loaded.name}, {loaded.embedding_dim} numbers, {1000 * duration:.0f} ms an image"
    if not np.array_equal(first, again) or not np.isfinite(text).all():
        return Check(name, "fail", f"{found}, a different result each time", "mi2 verify")
    return Check(name, "ok", f"{found}, the same bits each time")


def check_extra(extra: str, modules: tuple[str, ...]) -> Check:
    """Check that an optional part is installed, without importing it."""
    name = f"extra {extra}"
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Check(name, "ok", "installed")
    return Check(name, "off", f"without {', '.join(missing)}", f"pip install 'medimageinsight-onnx[{extra}]'")


def _memory() -> int | None:
    """Return the bytes this process may use: the machine's, or the container's limit where that is lower."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # not in a container, or "max"
            continue
    return min(sizes) if sizes else None
