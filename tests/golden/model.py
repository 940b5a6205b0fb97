"""A small network of the original architecture: weights generated from their names, results of the original."""

from __future__ import annotations

import json
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
CONFIG = FOLDER / "config.yaml"
VOCAB_SIZE = 49408
START, END = "<|startoftext|>", "<|endoftext|>"


def golden() -> dict[str, Any]:
    return json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def golden_pixels() -> np.ndarray:
    """The first of the four images, (1, 3, 120, 120) float32."""
    with np.load(FOLDER / "pixels.npz") as file:
        return file["pixels"]


def golden_weights() -> dict[str, np.ndarray]:
    return {name: _tensor(name, tuple(shape)) for name, shape in golden()["shapes"].items()}


def write_golden_checkpoint(folder: Path) -> Path:
    """Write a checkpoint in the release's layout. Its vocabulary is generated, since the release's is not included."""
    from safetensors.numpy import save_file

    tokenizer = folder / "language_model" / "clip_tokenizer"
    tokenizer.mkdir(parents=True)
    (folder / "vision_model").mkdir()
    (folder / "config.yaml").write_bytes(CONFIG.read_bytes())
    vocabulary, merges = _vocabulary()
    (tokenizer / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tokenizer / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    save_file(golden_weights(), folder / "vision_model" / "medimageinsigt-v1.0.0.pt")
    return folder


def _tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name == "logit_scale":
        return np.array(4.513362407684326, dtype=np.float32)
    values = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, np.float32)
    if "embedding" in name:
        return np.float32(0.02) * values
    if len(shape) >= 2:
        fan = shape[0] if name.endswith("_projection") else int(np.prod(shape[1:]))
        return values / np.float32(np.sqrt(fan))
    return 1 + np.float32(0.1) * values if name.endswith("weight") else np.float32(0.02) * values


def _vocabulary() -> tuple[dict[str, int], list[str]]:
    """Generate a vocabulary of the release's size, and its merges: two of English, the rest of pairs beyond ASCII."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    pairs = (f"{first} {second}" for first in letters for second in letters if not (first + second).isascii())
    merges = ["t h", "th e</w>", *islice(pairs, VOCAB_SIZE - 4 - len(tokens))]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: index for index, token in enumerate([*tokens, START, END])}, merges
