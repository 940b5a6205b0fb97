"""Training: memory of the released size, and the speed of a config's first steps.

    python benchmarks/training.py memory
    python benchmarks/training.py speed configs/mini.yaml --steps 60

The first prints the estimate of `train/memory_estimate.py`; `tests/train/test_memory_estimate.py` compares it with real
steps of a smaller size. The second trains some steps of the config's first stage in a temporary folder, with images in
memory, and then with images decoded from disk. It prints the medians over parts of 20 steps, without the first part:
images per second, model FLOP utilisation and the part of the time spent waiting for data; and the images per second
that are prepared while nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from medimageinsight.network import RELEASED
from medimageinsight.train import (
    GPU_OVERHEAD,
    CaptionWriter,
    Processes,
    StartConfig,
    TrainConfig,
    create_batch_maker,
    create_model,
    estimate_memory,
    load_mapping,
    read_config_as,
    read_samples,
    train,
)

GB = 1e9


def print_memory() -> None:
    """Print the memory at the released size on one GPU, 8 images at a time, bf16."""
    print("| trained | checkpointing | weights, copies | gradients, optimizer, average | activations | in all |")
    print("|---|---|---|---|---|---|")
    for learn in ("lora", "last", "full"):
        for checkpointing in (True, False):
            settings = StartConfig(checkpoint="", learn=learn, rank=16)
            memory = estimate_memory(RELEASED, images=8, start=settings, precision="bf16", checkpointing=checkpointing)
            parts = (
                memory.weights + memory.copies,
                memory.gradients + memory.optimizer + memory.average,
                memory.activations + memory.recomputed + memory.passing,
                memory.total + GPU_OVERHEAD,
            )
            cells = " | ".join(f"{part / GB:.1f} GB" for part in parts)
            print(f"| {learn} | {'yes' if checkpointing else 'no'} | {cells} |")


def print_speed(path: Path, steps: int) -> None:
    """Print the speed of the first steps, with images in memory and on disk, and of preparing images alone."""
    print("| images | images/s | MFU | waiting for data | prepared alone, images/s | that many times as fast |")
    print("|---|---|---|---|---|---|")
    for on_disk in (False, True):
        with tempfile.TemporaryDirectory() as name:
            config, out = shorten(path, steps, Path(name), on_disk=on_disk), Path(name) / "run"
            train(config, out, log=ignore_progress)
            with (out / "speed.csv").open(newline="") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            alone = measure_preparation(read_config_as(config, TrainConfig), config, out)
        trained, mfu, waited = (
            statistics.median(row[name] for row in rows[1:]) for name in ("images_per_second", "mfu", "waited_for_data")
        )
        location = "on disk" if on_disk else "in memory"
        print(f"| {location} | {trained:.0f} | {mfu:.0%} | {waited:.1%} | {alone:.0f} | {alone / trained:.1f} |")


def shorten(path: Path, steps: int, folder: Path, *, on_disk: bool) -> Path:
    """Write a config of `steps` steps of the first stage to a folder; returns its path."""
    mapping = load_mapping(path)
    mapping |= {"stages": [mapping["stages"][0] | {"steps": steps}], "evaluate_every": steps, "checkpoint_every": steps}
    mapping["data"] |= {"on_disk": on_disk, "table": str((path.parent / mapping["data"]["table"]).resolve())}
    mapping["tokenizer"]["corpus"] = str((path.parent / mapping["tokenizer"]["corpus"]).resolve())
    if on_disk:
        mapping.pop("images", None)  # augmentation of images in memory
    short = folder / "short.yaml"
    short.write_text(yaml.safe_dump(mapping, allow_unicode=True), "utf-8")
    return short


def measure_preparation(config: TrainConfig, path: Path, folder: Path, batches: int = 10) -> float:
    """Return the images per second that are decoded, augmented and batched while nothing else runs."""
    table = read_samples(config.data, path.parent, check=False, log=ignore_progress).of_split("train")
    writer = CaptionWriter(table.samples, config.captions, config.templates)
    initial = create_model(config, folder, path.parent, writer)
    maker = create_batch_maker(
        config, config.stages[0], table, writer, initial.tokenizer, initial.preprocessing, Processes()
    )
    started = time.perf_counter()
    for step in range(batches):
        maker(step)
    return batches * config.stages[0].batch_size / (time.perf_counter() - started)


def ignore_progress(line: str) -> None:
    """Do nothing."""


def main() -> None:
    """Run the chosen benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    benchmarks.add_parser("memory")
    speed = benchmarks.add_parser("speed")
    speed.add_argument("config", type=Path)
    speed.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.benchmark == "memory":
        print_memory()
    else:
        print_speed(arguments.config, arguments.steps)


if __name__ == "__main__":
    main()
