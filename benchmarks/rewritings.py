"""The speed-up of each rewriting of the exported network, at the released size with random weights.

    python benchmarks/rewritings.py --config ../shared/release/2024.09.27/config.yaml --work /tmp/rewritings

Each is added to the previous ones; the graphs with and without it are timed in turn, in one process. Needs 6 GB of disk
at --work and 12 GB of memory. Prints a Markdown table, then the same figures as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from medimageinsight.engine import Session
from medimageinsight.export import REWRITINGS, export_image_encoder, export_text_encoder, rewrite
from medimageinsight.network import ModelConfig, UniCLModel

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT_TOKENS = 12
IMAGE_ONLY = ("skip_window_padding", "merge_channel_attention_into_projection", "average_before_last_layer")
TEXT_ONLY = ("separate_text_queries", "finish_end_token_alone")


def make_inputs(config: ModelConfig) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return the timed cases by name: encoder, output, and inputs."""
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((1, 3, *config.image.image_size), dtype=np.float32)

    def tokens(rows: int) -> dict[str, Any]:
        ids = rng.integers(0, config.text.vocab_size - 1, (rows, PROMPT_TOKENS))
        ids[:, -1] = config.text.vocab_size - 1
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    return {
        "one image": ("image", "image_embeddings", {"pixel_values": pixels}),
        f"one prompt, {PROMPT_TOKENS} tokens": ("text", "text_embeddings", tokens(1)),
        f"32 prompts, {PROMPT_TOKENS} tokens": ("text", "text_embeddings", tokens(32)),
    }


def export(model: UniCLModel, count: int, encoder: str, folder: Path) -> Path:
    """Export an encoder with the first `count` rewritings, unless it exists; returns the graph's path."""
    path = folder / str(count) / f"{encoder}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        writer: Callable[[UniCLModel, Path], tuple[str, ...]]
        writer = export_image_encoder if encoder == "image" else export_text_encoder
        writer(rewrite(model, REWRITINGS[:count]), path)
    return path


def compare(graphs: dict[str, Path], output: str, inputs: dict[str, Any], rounds: int) -> tuple[list[float], float]:
    """Time two graphs in turn; returns the ratio of their times in each round and the largest difference of results."""
    sessions = [Session(path) for path in graphs.values()]
    ratios, results = [], []
    for number in range(rounds + 1):
        seconds = []
        for session in sessions:
            start = time.perf_counter()
            results.append(session.run(output, inputs))
            seconds.append(time.perf_counter() - start)
        if number:  # the first round warms up
            ratios.append(seconds[0] / seconds[1])
    return ratios, float(np.abs(results[-1] - results[-2]).max())


def main() -> None:
    """Measure and print the speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the release's config.yaml")
    parser.add_argument("--work", type=Path, required=True, help="folder for the graphs")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    config = ModelConfig.from_release(yaml.safe_load(arguments.config.read_text(encoding="utf-8")))
    torch.manual_seed(0)
    model = UniCLModel(config).eval()
    figures = []
    for name, (encoder, output, inputs) in make_inputs(config).items():
        skipped = TEXT_ONLY if encoder == "image" else IMAGE_ONLY
        steps = [0, *(i for i, step in enumerate(REWRITINGS, start=1) if step.__name__ not in skipped)]
        for before, after in [*itertools.pairwise(steps), (0, steps[-1])]:
            graphs = {str(count): export(model, count, encoder, arguments.work) for count in (before, after)}
            rounds = arguments.rounds if encoder == "image" else 3 * arguments.rounds
            ratios, difference = compare(graphs, output, inputs, rounds)
            step = "all" if before == 0 and after != steps[1] else REWRITINGS[after - 1].__name__
            figures.append({"input": name, "rewriting": step, "ratio": statistics.median(ratios), "diff": difference})
            print(json.dumps(figures[-1]), flush=True)
    print("| input | rewriting | times faster | largest difference |\n|---|---|---|---|")
    for row in figures:
        print(f"| {row['input']} | `{row['rewriting']}` | {row['ratio']:.3f} | {row['diff']:.1e} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
