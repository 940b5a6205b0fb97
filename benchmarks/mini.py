"""The built-in model: milliseconds per image and text on one core, and the start of `mi2 demo` and of the import.

    python benchmarks/mini.py

Prints a Markdown table, then the same figures as JSON; each is a median.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.data import get_testdata_file

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 15
PROMPT = "x-ray chest anteroposterior No Finding"


def median_ms(call: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median wall-clock time of a call, in milliseconds; a first call is not counted."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def process_ms(*words: str, runs: int = 5) -> float:
    """Return the median time of a whole process, in milliseconds."""
    return median_ms(lambda: subprocess.run(words, check=True, capture_output=True), runs)


def main() -> None:
    """Measure and print all figures."""
    image = get_testdata_file("CT_small.dcm", download=False)
    with MedImageInsight.load("mini", threads=1) as model, tempfile.TemporaryDirectory() as folder:
        eight = [image] * 8
        sheet = str(Path(folder) / "sheet.png")
        figures = {
            "one image, one core (ms)": median_ms(lambda: model.embed_images(image)),
            "an image in a batch of 8, one core (ms)": median_ms(lambda: model.embed_images(eight)) / 8,
            "one prompt, one core (ms)": median_ms(lambda: model.embed_texts(PROMPT)),
            "import medimageinsight, whole process (ms)": process_ms(sys.executable, "-c", "import medimageinsight"),
            "python alone, whole process (ms)": process_ms(sys.executable, "-c", ""),
            "mi2 demo, whole process (ms)": process_ms(sys.executable, "-m", "medimageinsight", "demo", "--out", sheet),
        }
    print("| figure | median |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.1f} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
