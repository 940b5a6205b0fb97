"""Training: memory of the released size, and the speed of a config's first steps.

    python benchmarks/training.py memory
    python benchmarks/training.py speed configs/mini.yaml --steps 60

The first prints what `train/memory.py` calculates, which `tests/train/test_memory.py` compares with real steps of a
smaller size. The second trains so many steps of the config's first stage in a folder that is thrown away, with pictures
in memory, and then decoded when they are drawn. It prints the medians over parts of 20 steps, without the first:
pictures a second, model FLOP utilisation and the part of the time spent waiting for data; and how many pictures a
second are prepared when nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from medimageinsight.network.config import RELEASED
from medimageinsight.train.batches import make_batches
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.config import StartConfig, TrainConfig
from medimageinsight.train.config_file import load_mapping, read_run
from medimageinsight.train.distributed import Processes
from medimageinsight.train.loop import train
from medimageinsight.train.memory import OVERHEAD, estimate_memory
from medimageinsight.train.samples import read_samples
from medimageinsight.train.start import start_new

GB = 1e9


def print_memory() -> None:
    """The released size, one GPU, 8 pictures at a time, bf16."""
    print("| learned | checkpointing | weights, copies | gradients, optimizer, average | activations | in all |")
    print("|---|---|---|---|---|---|")
    for learn in ("lora", "last", "full"):
        for checkpointing in (True, False):
            settings = StartConfig(checkpoint="", learn=learn, rank=16)
            one = estimate_memory(RELEASED, pictures=8, learn=settings, precision="bf16", checkpointing=checkpointing)
            parts = (
                one.weights + one.copies,
                one.gradients + one.optimizer + one.average,
                one.activations + one.recomputed + one.passing,
                one.total + OVERHEAD,
            )
            cells = " | ".join(f"{part / GB:.1f} GB" for part in parts)
            print(f"| {learn} | {'yes' if checkpointing else 'no'} | {cells} |")


def print_speed(path: Path, steps: int) -> None:
    """Of the first steps of a training from scratch, with pictures in memory and on disk, and of their preparation."""
    print("| pictures | images/s | MFU | waiting for data | prepared alone, images/s | that many times as fast |")
    print("|---|---|---|---|---|---|")
    for on_disk in (False, True):
        with tempfile.TemporaryDirectory() as name:
            config, out = shortened(path, steps, Path(name), on_disk=on_disk), Path(name) / "run"
            train(config, out, log=quiet)
            with (out / "speed.csv").open(newline="") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            alone = prepared(read_run(config, TrainConfig), config, out)
        trained, mfu, waited = (
            statistics.median(row[name] for row in rows[1:]) for name in ("images_per_second", "mfu", "waited_for_data")
        )
        place = "on disk" if on_disk else "in memory"
        print(f"| {place} | {trained:.0f} | {mfu:.0%} | {waited:.1%} | {alone:.0f} | {alone / trained:.1f} |")


def shortened(path: Path, steps: int, folder: Path, *, on_disk: bool) -> Path:
    """A config of so many steps of the first stage, in another folder."""
    mapping = load_mapping(path)
    mapping |= {"stages": [mapping["stages"][0] | {"steps": steps}], "evaluate_every": steps, "checkpoint_every": steps}
    mapping["data"] |= {"on_disk": on_disk, "table": str((path.parent / mapping["data"]["table"]).resolve())}
    mapping["tokenizer"]["corpus"] = str((path.parent / mapping["tokenizer"]["corpus"]).resolve())
    if on_disk:
        mapping.pop("images", None)  # which are for pictures in memory
    short = folder / "short.yaml"
    short.write_text(yaml.safe_dump(mapping, allow_unicode=True), "utf-8")
    return short


def prepared(config: TrainConfig, path: Path, folder: Path, batches: int = 10) -> float:
    """Pictures a second that are decoded, changed and laid into batches when nothing else runs."""
    table = read_samples(config.data, path.parent, check=False, log=quiet).of_split("train")
    writer = CaptionWriter(table.samples, config.captions, config.templates)
    start = start_new(config, folder, path.parent, writer)
    maker = make_batches(config, config.stages[0], table, writer, start.tokenizer, start.preprocessing, Processes())
    begun = time.perf_counter()
    for step in range(batches):
        maker(step)
    return batches * config.stages[0].batch_size / (time.perf_counter() - begun)


def quiet(line: str) -> None:
    """Drops a line of progress."""


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("memory")
    speed = what.add_parser("speed")
    speed.add_argument("config", type=Path)
    speed.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    if given.what == "memory":
        print_memory()
    else:
        print_speed(given.config, given.steps)


if __name__ == "__main__":
    main()
