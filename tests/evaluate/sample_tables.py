"""Tables whose images are vectors at a known distance from the caption of their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medimageinsight.datasets import Sample, Table
from medimageinsight.evaluate import EmbeddedTable, choose_prompts

DIM = 16


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def direction(text):
    return unit(np.random.default_rng(list(text.encode())).standard_normal(DIM))


def make_table(
    *, splits=("train", "val", "test"), sources=("chest", "knee"), labels=("a", "b", "c"), count=20, per_patient=2
):
    """Return a table with `count` images of each class in each split."""
    return Table(
        samples=tuple(
            Sample(
                path=Path(f"{source}/{split}/{label}/{index}.png"),
                caption=f"{source} {label}",
                modality="x-ray",
                anatomy=source,
                label=label,
                finding=label.upper(),
                source=source,
                split=split,
                patient_id=f"secret-{split}-{label}-{index // per_patient}",
            )
            for source in sources
            for split in splits
            for label in labels
            for index in range(count)
        ),
        root=Path(),
    )


def make_embedded(table, *, noise=1.0, seed=0, scale=3.0):
    """Return image vectors near the vector of their caption; more noise moves them away."""
    generator = np.random.default_rng(seed)
    prompts = choose_prompts(table, "test", template="{source} {}")
    vectors = np.stack([direction(sample.caption) for sample in table])
    images = unit(vectors + noise * generator.standard_normal(vectors.shape) / np.sqrt(DIM))
    return EmbeddedTable(
        table=table,
        images=images,
        prompts=prompts,
        prompt_embeddings=np.stack([direction(prompt) for prompt in prompts.texts]),
        logit_scale=scale,
    )
