"""Loading of a bundle's image encoder and memory of one image, alone and next to a second process.

    MI2_HOME=/tmp/home python benchmarks/loading.py BUNDLE

Run it twice: the first run writes this machine's optimised copy, unless ``MI2_GRAPH_CACHE=0``. Linux only. Prints a
Markdown table, then the same figures as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 5

WORKER = """
import json, sys, time
import numpy as np
from medimageinsight.bundle import Bundle
from medimageinsight.engine import Engine

def memory():
    lines = open("/proc/self/smaps_rollup").read().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"resident": kib["Rss"] / 1024, "private": own / 1024, "private dirty": kib["Private_Dirty"] / 1024}

start = time.perf_counter()
bundle = Bundle.open(sys.argv[1])
engine = Engine(bundle)
height, width = bundle.manifest.preprocessing["image_size"]
engine.embed_pixels(np.empty((0, 3, height, width), np.float32))
loaded = time.perf_counter() - start
vector = engine.embed_pixels(np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32))
print(json.dumps({"load_s": loaded, "text_loaded": "text_encoder.onnx" in engine._sessions, **memory()}), flush=True)
sys.stdin.readline()
print(json.dumps(memory()), flush=True)
sys.stdin.readline()
"""


class Worker:
    """A process that loads the encoder, embeds one image, and reports its time and memory."""

    def __init__(self, bundle: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, bundle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._read()

    def read_memory(self) -> dict[str, float]:
        """Return the current memory of the process."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End the process."""
        self._process.communicate("\n")

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Measure and print all figures."""
    bundle = sys.argv[1]
    loads = []
    for _ in range(RUNS):
        worker = Worker(bundle)
        loads.append(worker.first)
        worker.stop()
    first, second = Worker(bundle), Worker(bundle)
    together = first.read_memory()
    for worker in (first, second):
        worker.stop()
    figures = {
        "load, seconds": statistics.median(load["load_s"] for load in loads),
        "text encoder loaded by an image": any(load["text_loaded"] for load in loads),
        "resident, MiB": statistics.median(load["resident"] for load in loads),
        "private, one process, MiB": statistics.median(load["private"] for load in loads),
        "private, next to a second process, MiB": together["private"],
        "private and written, one process, MiB": statistics.median(load["private dirty"] for load in loads),
    }
    print("| figure | value |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:,.2f} |" if isinstance(value, float) else f"| {name} | {'yes' if value else 'no'} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
