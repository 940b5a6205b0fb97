"""Memory of planning a batch, and its speed next to `embed_images` on the same files.

python benchmarks/batch.py plan [--rows 10000000]
python benchmarks/batch.py speed FOLDER [--model NAME|DIR] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight import MedImageInsight, batch
from medimageinsight.datasets import find_images

if TYPE_CHECKING:
    from collections.abc import Iterator


class SyntheticTable:
    """Rows of a table of paths, written to a pipe-like CSV file once; no file of them exists."""

    def __init__(self, path: Path, rows: int) -> None:
        with path.open("w") as file:
            file.write("key,path\n")
            for start in range(0, rows, 10_000):
                file.writelines(self.lines(start, min(rows, start + 10_000)))
        self.path = path

    @staticmethod
    def lines(start: int, stop: int) -> Iterator[str]:
        """Yield a line for each row, with paths of the length of a DICOM archive's."""
        for number in range(start, stop):
            yield f"case-{number:09},s3://archive/{number // 100_000:04}/{number // 100:07}/1.2.826.0.1.{number}.dcm\n"


def measure_plan(rows: int) -> None:
    """Print the time and the peak of memory of planning, then those of comparing a later start with the plan."""
    with tempfile.TemporaryDirectory() as folder:
        table = SyntheticTable(Path(folder) / "archive.csv", rows).path
        model = MedImageInsight.load()
        for name in ("plan", "compare"):
            start = time.perf_counter()
            manifest = batch.plan([str(table)], f"{folder}/out", batch.BatchOptions(), model.identity)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                1 << 20 if sys.platform == "darwin" else 1 << 10
            )
            size = sum(path.stat().st_size for path in Path(folder, "out").rglob("*") if path.is_file())
            print(
                f"{name}: {manifest.rows:,} rows in {manifest.parts:,} parts, {seconds:.1f} s, peak {peak:,.0f} MB, "
                f"plan of {size / 1e6:,.1f} MB"
            )


def measure_speed(folder: str, model_name: str | None, rounds: int) -> None:
    """Print images per second of both, alternating, and the ratio of the medians."""
    paths = find_images(folder).paths
    model = MedImageInsight.load(model_name)
    model.embed_images(paths[:8], errors="return")
    seconds: dict[str, list[float]] = {"embed_images": [], "batch": [], "batch with its start": []}
    for number in range(rounds):
        order = ("embed_images", "batch") if number % 2 else ("batch", "embed_images")
        for name in order:
            start = time.perf_counter()
            if name == "embed_images":
                model.embed_images(paths, errors="return")
                seconds[name].append(time.perf_counter() - start)
                continue
            with tempfile.TemporaryDirectory() as out:
                timed = _run_batch(folder, out, model_name)
            seconds["batch"].append(timed)
            seconds["batch with its start"].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {len(paths) / median:,.1f} images/s ({', '.join(f'{value:.2f}' for value in seconds[name])} s)")
    print(f"batch / embed_images: {medians['embed_images'] / medians['batch']:.3f}, load {os.getloadavg()[0]:.1f}")


def _run_batch(folder: str, out: str, model_name: str | None) -> float:
    """Return the seconds of the parts in their worker, from the moment that it has the model and the first image."""

    class Timed(batch.Engine):
        """Runs the parts in this process with a loaded model, as a worker does after its start."""

        seconds = 0.0

        def run(self, parts: Any, settings: batch.ModelSettings, report: Any) -> None:  # noqa: ARG002
            model = settings.load()
            model.embed_images(find_images(folder).paths[:8], errors="return")
            start = time.perf_counter()
            for part in parts:
                batch.embed_part(part, model)
            self.seconds = time.perf_counter() - start

    engine = Timed()
    batch.run(folder, out, model=model_name, engine=engine)
    return engine.seconds


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan").add_argument("--rows", type=int, default=10_000_000)
    speed = commands.add_parser("speed")
    speed.add_argument("folder")
    speed.add_argument("--model")
    speed.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.command == "plan":
        measure_plan(arguments.rows)
    else:
        measure_speed(arguments.folder, arguments.model, arguments.rounds)


if __name__ == "__main__":
    main()
