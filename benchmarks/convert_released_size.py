"""Conversion at the released size: time, peak memory, size on disk, parity, and the first embedding.

    python benchmarks/convert_released_size.py --release ../shared/release/2024.09.27 --work /tmp/released-size

Needs 6 GB of disk at --work. Prints a Markdown table, then the same figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

GIB = 1 << 30

CONVERT = """
import sys
from medimageinsight.export import convert
report = lambda stage, part: print(f"{part:4.0%} {stage}", file=sys.stderr)
convert(sys.argv[1], sys.argv[2], overwrite=True, progress=report)
"""

EMBED = """
import json, sys, time
import numpy as np
from medimageinsight import MedImageInsight
start = time.perf_counter()
with MedImageInsight.load(sys.argv[1]) as model:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    image = model.embed_images(pixels)
    first_image = time.perf_counter() - start
    text = model.embed_texts("x-ray chest anteroposterior Cardiomegaly")
    first_text = time.perf_counter() - start - first_image
    start = time.perf_counter()
    model.embed_images(pixels)
    next_image = time.perf_counter() - start
    start = time.perf_counter()
    model.embed_texts("x-ray chest anteroposterior Cardiomegaly")
    next_text = time.perf_counter() - start
print(json.dumps({
    "embedding_dim": len(image),
    "norms": [float(np.linalg.norm(image)), float(np.linalg.norm(text))],
    "first_image_s": first_image, "next_image_s": next_image,
    "first_text_s": first_text, "next_text_s": next_text,
}))
"""


def run(code: str, *arguments: str) -> tuple[str, float, float]:
    """Run Python code in a new process; returns its output, seconds, and peak resident memory in GiB.

    The peak includes the pages of memory-mapped files.
    """
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the measured process failed with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return output, time.perf_counter() - start, usage.ru_maxrss * unit / GIB


def measure(release: Path, work: Path) -> dict[str, object]:
    """Measure all figures; returns them by name."""
    checkpoint, bundle = work / "checkpoint", work / "bundle"
    if not checkpoint.is_dir():
        writer = Path(__file__).with_name("random_checkpoint.py")
        subprocess.run([sys.executable, str(writer), str(release), str(checkpoint)], check=True)
    _, seconds, peak = run(CONVERT, str(checkpoint), str(bundle))
    parity = json.loads((bundle / "parity.json").read_text(encoding="utf-8"))["parity"]
    embedded, _, embed_peak = run(EMBED, str(bundle))
    weights = next((checkpoint / "vision_model").iterdir())
    return {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "checkpoint_bytes": weights.stat().st_size,
        "bundle_bytes": sum(path.stat().st_size for path in bundle.iterdir()),
        "convert_s": seconds,
        "convert_peak_gib": peak,
        "image_max_abs_diff": parity["image"]["max_abs_diff"],
        "image_min_cosine": parity["image"]["min_cosine"],
        "image_max_batch_diff": parity["image"]["max_batch_diff"],
        "text_max_abs_diff": parity["text"]["max_abs_diff"],
        "text_min_cosine": parity["text"]["min_cosine"],
        "text_max_batch_diff": parity["text"]["max_batch_diff"],
        "embed_peak_gib": embed_peak,
        **json.loads(embedded),
    }


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=Path, required=True, help="folder with config.yaml and language_model/")
    parser.add_argument("--work", type=Path, required=True, help="where the checkpoint and the bundle are written")
    arguments = parser.parse_args()
    figures = measure(arguments.release, arguments.work)
    print("| figure | value |\n|---|---|")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else value
        print(f"| {name} | {shown} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
