"""A checkpoint with random weights in the release's layout, to test conversion without the released weights.

    python benchmarks/random_checkpoint.py RELEASE_FOLDER OUT_FOLDER

RELEASE_FOLDER has ``config.yaml`` and ``language_model/``; its weights, if any, are not read.
"""

from __future__ import annotations

import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save_file

from medimageinsight.network import ModelConfig, create_meta_model

LOGIT_SCALE = 4.5134  # as the release's


def random_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Generate weights from the name, scaled so that activations keep their size from layer to layer."""
    if name == "logit_scale":
        return np.array(LOGIT_SCALE, dtype=np.float32)
    values = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, np.float32)
    if "embedding" in name:
        return np.float32(0.02) * values
    if len(shape) >= 2:
        fan = shape[0] if name.endswith("_projection") else int(np.prod(shape[1:]))
        return values / np.float32(np.sqrt(fan))
    return 1 + np.float32(0.1) * values if name.endswith("weight") else np.float32(0.02) * values


def write_checkpoint(release: Path, out: Path) -> Path:
    """Write a checkpoint of the size in the release's config; returns its folder."""
    (out / "vision_model").mkdir(parents=True)
    shutil.copyfile(release / "config.yaml", out / "config.yaml")
    shutil.copytree(release / "language_model", out / "language_model")
    config = ModelConfig.from_release(yaml.safe_load((release / "config.yaml").read_text(encoding="utf-8")))
    shapes = {name: tuple(tensor.shape) for name, tensor in create_meta_model(config).state_dict().items()}
    weights = {name: random_tensor(name, shape) for name, shape in shapes.items()}
    save_file(weights, out / "vision_model" / "medimageinsigt-v1.0.0.pt")
    return out


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]))
