"""Open thousands of randomly damaged images: nothing ends the process, and every failure is an error of the package.

    python benchmarks/damaged_images.py --count 10000 --seed 0

The samples (all transfer syntaxes and file formats, made by the libraries' encoders) and the kinds of damage are those
of ``tests/images``. A process that ends, or that is busy with one file for a minute, is replaced, and counts. The exit
code is 1 if a process ended, another exception was raised, anything was printed, or a bound was exceeded; ``--keep
FOLDER`` writes the files at fault. Prints a Markdown table, then the same figures as JSON.
"""

from __future__ import annotations

import argparse
import collections
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STUCK_SECONDS = 60


class Worker:
    """Processes, one at a time, that open every STEP-th damaged file from a first index on."""

    def __init__(self, options: argparse.Namespace, first: int) -> None:
        self._options = options
        self._first = first
        self.results: list[dict[str, Any]] = []

    def run(self) -> None:
        """Open all files of this worker; go on behind a file that ended its process."""
        first = self._first
        while first < self._options.count:
            process = self._start(first)
            reports, last = self._follow(process)
            self.results += reports
            if last is None:
                return
            ended = "stuck" if process.returncode is None else f"ended by {process.returncode}"
            process.kill()
            process.wait()
            self.results.append(
                {**last, "outcome": ended, "foreign": "", "cpu_seconds": 0, "peak_mib": 0, "printed": 0}
            )
            first = last["index"] + self._options.workers

    def _start(self, first: int) -> subprocess.Popen[str]:
        arguments = {
            "seed": self._options.seed,
            "first": first,
            "count": self._options.count - first,
            "step": self._options.workers,
        }
        command = [sys.executable, "-m", "tests.images.damage"]
        command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def _follow(self, process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Return the results, and the file in work when the process ended or stopped to report; None if it finished."""
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read_lines, args=(process, lines), daemon=True).start()
        results: list[dict[str, Any]] = []
        started: dict[str, Any] | None = None
        while True:
            try:
                line = lines.get(timeout=STUCK_SECONDS)
            except queue.Empty:
                if started is None:
                    raise SystemExit("a worker did not start") from None
                return results, started
            if line is None:
                if process.wait() and started is None:
                    raise SystemExit("a worker failed to start: see its error above")
                return results, started
            report = json.loads(line)
            if "outcome" in report:
                results.append(report)
                started = None
            else:
                started = report


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def main() -> None:
    """Open all files, print the figures, and exit with 1 if anything was at fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--max-cpu-seconds", type=float, default=2.0, help="of one file")
    parser.add_argument("--max-peak-mib", type=float, default=1024.0, help="of one file")
    parser.add_argument("--keep", type=Path, help="folder for the files at fault")
    options = parser.parse_args()
    workers = [Worker(options, first) for first in range(options.workers)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = sorted((result for worker in workers for result in worker.results), key=lambda result: result["index"])
    faults = [(fault, result) for result in results if (fault := _fault(result, options))]
    for fault, result in faults:
        print(f"{result['index']} {result['name']}: {fault}", file=sys.stderr)
    if options.keep:
        _keep(options, [result for _, result in faults])
    _report(results, faults)
    sys.exit(1 if faults or len(results) != options.count else 0)


def _fault(result: dict[str, Any], options: argparse.Namespace) -> str:
    if result["outcome"] == "stuck" or result["outcome"].startswith("ended"):
        return str(result["outcome"])
    if result["foreign"]:
        return f"foreign exception {result['foreign']}"
    if result["printed"]:
        return f"printed {result['printed']} bytes"
    if result["cpu_seconds"] > options.max_cpu_seconds:
        return f"took {result['cpu_seconds']:.1f} CPU seconds"
    if result["peak_mib"] > options.max_peak_mib:
        return f"needed {result['peak_mib']:.0f} MiB"
    return ""


def _report(results: list[dict[str, Any]], faults: list[tuple[str, dict[str, Any]]]) -> None:
    outcomes = collections.Counter(result["outcome"] for result in results)
    figures: dict[str, Any] = {
        "damaged files": len(results),
        "opened": outcomes.pop("opened", 0),
        "processes ended or stuck": sum(fault.startswith(("ended", "stuck")) for fault, _ in faults),
        "foreign exceptions": sum(fault.startswith("foreign") for fault, _ in faults),
        "files that printed": sum(fault.startswith("printed") for fault, _ in faults),
        "largest CPU seconds of a file": round(max(result["cpu_seconds"] for result in results), 2),
        "largest memory of a file, MiB": round(max(result["peak_mib"] for result in results)),
        **{f"refused with `{code}`": count for code, count in outcomes.most_common() if code.startswith("image_")},
    }
    print("| figure | value |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:,} |")
    print(json.dumps(figures))


def _keep(options: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.images.damage import damaged_file
    from tests.images.encoded_samples import encoded_samples

    options.keep.mkdir(parents=True, exist_ok=True)
    samples = encoded_samples()
    for result in results:
        name, data, frame = damaged_file(samples, options.seed, result["index"])
        path = options.keep / f"{result['index']}-frame{frame}-{name.replace(' ', '-')}"
        path.write_bytes(data)


if __name__ == "__main__":
    main()
