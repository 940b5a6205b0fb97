"""Many prompts at their real lengths, as the engine runs them, against the same graph padded to the full context.

    python benchmarks/prompts.py --model BUNDLE --prompts ../shared/data/label_examples.csv

The prompts are divided into groups, and each group is embedded in both ways, in turn. Prints a Markdown
table, then the same figures as JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from pathlib import Path

import numpy as np

from medimageinsight import MedImageInsight
from medimageinsight.bundle import TEXT_ENCODER, Bundle
from medimageinsight.engine import Session
from medimageinsight.engine.engine import TEXT_BATCH
from medimageinsight.tokenizer import pad

GROUPS = 5


def read_prompts(path: Path) -> list[str]:
    """Read the column ``text`` of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def embed_padded(session: Session, rows: list[list[int]], context: int) -> np.ndarray:
    """Embed rows in batches of the engine's size, padded to the context."""
    parts = []
    for start in range(0, len(rows), TEXT_BATCH):
        ids, mask = pad(rows[start : start + TEXT_BATCH], rows[0][-1])
        missing = context - ids.shape[1]
        inputs = {
            "input_ids": np.pad(ids, ((0, 0), (0, missing)), constant_values=rows[0][-1]),
            "attention_mask": np.pad(mask, ((0, 0), (0, missing))),
        }
        parts.append(session.run("text_embeddings", inputs))
    return np.concatenate(parts)


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a bundle's folder")
    parser.add_argument("--prompts", type=Path, required=True, help="a CSV file with the prompts in its column text")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.model)
    context = bundle.manifest.context_length
    prompts = read_prompts(arguments.prompts)
    ratios, totals, differences = [], [0.0, 0.0], []
    with MedImageInsight.load(arguments.model) as model:
        rows = [list(row) for row in model.tokenizer.encode(prompts)]
        session = Session(bundle.path(TEXT_ENCODER))
        model.engine.embed_tokens(rows[:2])
        embed_padded(session, rows[:2], context)
        for group in range(GROUPS):
            group_rows = rows[group::GROUPS]
            start = time.perf_counter()
            short = model.engine.embed_tokens(group_rows)
            middle = time.perf_counter()
            padded = embed_padded(session, group_rows, context)
            end = time.perf_counter()
            ratios.append((end - middle) / (middle - start))
            totals[0] += middle - start
            totals[1] += end - middle
            differences.append(float(np.abs(short - padded).max()))
    figures = {
        "prompts": len(rows),
        "tokens, median": statistics.median(len(row) for row in rows),
        "at real length, all (s)": totals[0],
        f"padded to {context}, all (s)": totals[1],
        "times faster, median of groups": statistics.median(ratios),
        "largest difference": max(differences),
    }
    print("| figure | value |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.3g} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
