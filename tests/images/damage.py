"""Random damage to encoded images, and a process that opens damaged files and reports every result.

    python -m tests.images.damage --seed 0 --first 0 --count 300

prints a line of JSON before each file and another after it, so that a process that ends names the file that ended it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight import images
from medimageinsight.errors import MedImageInsightError
from tests.images.encoded_samples import EncodedSample, encoded_samples

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER_BYTES = 500
_END_OF_IMAGE = b"\xff\xd9"  # JPEG, JPEG-LS and JPEG 2000 alike


def _replace_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _replace_header_bytes(data: bytearray, rng: random.Random) -> None:
    start = 132 if data[128:132] == b"DICM" else 0
    for _ in range(rng.choice((1, 1, 2, 4))):
        position = min(start + rng.randrange(_HEADER_BYTES), len(data) - 1)
        data[position] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))


def _flip_bit(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _zero_run(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice((2, 16, 200, 2000)), len(data) - start)
    data[start : start + length] = bytes(length)


def _insert_marker(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start : start + 2] = bytes((0xFF, rng.choice((0xC0, 0xC3, 0xC4, 0xD8, 0xD9, 0xDA, 0xDD, 0x51, 0x90, 0xF7))))


def _insert_run(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 2, 7, 64, 500)))


def _repeat_run(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((1, 4, 64, 1000))]


def _remove_run(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 32, 300))]


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _cut_and_end(data: bytearray, rng: random.Random) -> None:
    _cut(data, rng)
    data += _END_OF_IMAGE


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _replace_bytes,
    _replace_header_bytes,
    _flip_bit,
    _zero_run,
    _insert_marker,
    _insert_run,
    _repeat_run,
    _remove_run,
    _cut,
    _cut_and_end,
)


def damaged_file(samples: list[EncodedSample], seed: int, index: int) -> tuple[str, bytes, int]:
    """Return the name of the sample and of the damage, the damaged file, and the frame to open, all set by the seed."""
    rng = random.Random(f"{seed}:{index}")
    sample = samples[index % len(samples)]
    damage = rng.choice(DAMAGES)
    name = f"{sample.name} {damage.__name__.strip('_')}"
    frame = rng.choice((0, 0, 0, 1))
    if rng.random() < 0.5:  # the compressed frame alone, inside an intact dataset
        codestream = bytearray(sample.codestream)
        damage(codestream, rng)
        return name, sample.wrap(bytes(codestream)), frame
    data = bytearray(sample.file)
    damage(data, rng)
    return name, bytes(data), frame


def main() -> None:
    """Open damaged files; print what happened to each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--step", type=int, default=1, help="open every STEP-th file only")
    options = parser.parse_args()
    report = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryFile() as output:  # what libraries print, also from C
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        samples = encoded_samples()
        for index in range(options.first, options.first + options.count, options.step):
            name, data, frame = damaged_file(samples, options.seed, index)
            report.write(json.dumps({"index": index, "name": name}) + "\n")
            printed = os.fstat(output.fileno()).st_size
            result = _open(data, frame)
            sys.stdout.flush()
            sys.stderr.flush()
            result["printed"] = os.fstat(output.fileno()).st_size - printed
            report.write(json.dumps({"index": index, "name": name, **result}) + "\n")


def _open(data: bytes, frame: int) -> dict[str, object]:
    _reset_peak_memory()
    before, start = _memory_mib("VmRSS"), time.process_time()
    outcome, foreign = "opened", ""
    try:
        images.count_frames(data)
        images.open(data, frame=frame)
    except MedImageInsightError as error:
        outcome = error.code
    except BaseException as error:
        outcome, foreign = "exception", f"{type(error).__name__}: {error}"
    return {
        "outcome": outcome,
        "foreign": foreign,
        "cpu_seconds": time.process_time() - start,
        "peak_mib": _memory_mib("VmHWM") - before,
    }


def _reset_peak_memory() -> None:
    clear = Path("/proc/self/clear_refs")  # Linux: 5 resets the peak of the resident memory
    if clear.exists():
        clear.write_text("5")


def _memory_mib(field: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
