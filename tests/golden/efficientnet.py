"""A small EfficientNet-Lite with weights from a generator, and the features of a public implementation for it.

`efficientnet.json` was written by the package ``efficientnet-lite-pytorch`` 0.1.0 with these weights and pixels: its
network of the same stages (width coefficient 0.25, depth divisor 4), in evaluation mode.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from medimageinsight.network import EfficientNetConfig, ModelConfig, TextEncoderConfig

# Sizes of 18 x 14, 9 x 7, 5 x 4 and 5 x 4: paddings on both sides and on one.
SMALL = EfficientNetConfig(
    image_size=(36, 28),
    widths=(8, 12, 12, 16),
    depths=(1, 2, 2, 1),
    kernels=(3, 5, 3, 5),
    strides=(1, 2, 2, 1),
    expansions=(1, 4, 6, 6),
    stem=8,
    head=320,
)
SMALL_MODEL = ModelConfig(
    image=SMALL,
    text=TextEncoderConfig(vocab_size=530, context_length=16, width=8, heads=2, layers=1),
    embedding_dim=16,
)


def small_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return tensors for these names and shapes; variances are positive, and no activation vanishes."""
    rng = np.random.default_rng(7)
    tensors = {}
    for name in sorted(shapes):
        values = rng.standard_normal(shapes[name])
        if name.endswith("conv.weight"):
            values *= (2 / np.prod(shapes[name][1:])) ** 0.5
        elif name.endswith(("running_var", "norm.weight")):
            values = 1 + 0.3 * np.tanh(values)
        else:
            values *= 0.2
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors


def small_pixels() -> torch.Tensor:
    """Return normalised pixels, (2, 3, 36, 28)."""
    values = np.random.default_rng(8).standard_normal((2, 3, *SMALL.image_size))
    return torch.from_numpy(values.astype(np.float32))


def small_features() -> np.ndarray:
    """Return the features of the public implementation, (2, 320)."""
    return np.array(json.loads(Path(__file__).with_suffix(".json").read_text())["features"], np.float32)
