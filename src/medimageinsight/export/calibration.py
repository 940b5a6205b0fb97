"""Real pictures with labels for a conversion: some give int8 its scales, others judge what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import images
from medimageinsight.datasets import read_folder, read_table
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.export.agreement import MIN_PICTURES
from medimageinsight.export.samples import sample_tokens
from medimageinsight.preprocess import Preprocessing, preprocess
from medimageinsight.tokenizer import Tokenizer, pad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medimageinsight.network.config import TextEncoderConfig

SEED = 2024
SCALED = 100  # pictures at most that scales are taken from
JUDGED = 200  # pictures at most that judge
PROMPTS = 256  # at most


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Pictures and prompts on which a bundle and its network are compared."""

    pixels: NDArray[np.float32]  # (N, 3, H, W)
    tokens: list[list[int]]  # of P prompts
    labels: list[int]  # which label each prompt speaks of


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """What a folder of labelled pictures is to a conversion; no picture is both."""

    scaled: NDArray[np.float32]  # (M, 3, H, W), for the scales of activations
    judged: Judged


def read_calibration(source: str | Path, preprocessing: Preprocessing, tokenizer: Tokenizer) -> CalibrationSet:
    """Draw pictures from a folder of one folder a label, or from a table, and prepare them as the model wants.

    The order is drawn from a fixed seed. The first third gives scales, the rest judges, each up to its limit; the
    prompts are the captions of all.

    Args:
        source: As `read_folder` or, with the ending of a table, as `read_table`.
        preprocessing: The model's own.
        tokenizer: The model's own.

    Raises:
        DatasetError: It cannot be read, has too few pictures (``calibration_too_small``), or pictures in it cannot be
            read (``dataset_broken_images``).
    """
    source = Path(source)
    table = read_folder(source) if source.is_dir() else read_table(source)
    scaled = min(SCALED, len(table) // 3)
    judged = min(JUDGED, len(table) - scaled)
    if judged < MIN_PICTURES or scaled < 1:
        raise DatasetError(
            f"expected {MIN_PICTURES * 3 // 2} pictures or more for calibration, got {len(table)}: add some",
            code="calibration_too_small",
        )
    drawn = np.random.Generator(np.random.PCG64(SEED)).permutation(len(table))[: scaled + judged]
    pixels = _prepare([table.samples[index].path for index in drawn], preprocessing)
    label_of = {sample.caption: (sample.source, sample.label or sample.caption) for sample in table}
    labels = list(dict.fromkeys(label_of.values()))
    captions = list(label_of)[:PROMPTS]
    judge = Judged(
        pixels=pixels[scaled:],
        tokens=[list(row) for row in tokenizer.encode(captions)],
        labels=[labels.index(label_of[caption]) for caption in captions],
    )
    return CalibrationSet(scaled=pixels[:scaled], judged=judge)


def image_inputs(calibration: CalibrationSet) -> Iterator[dict[str, NDArray[Any]]]:
    """The image encoder's inputs for its scales, one picture each."""
    for pixels in calibration.scaled:
        yield {"pixel_values": pixels[np.newaxis]}


def text_inputs(calibration: CalibrationSet, config: TextEncoderConfig) -> Iterator[dict[str, NDArray[Any]]]:
    """The text encoder's: the prompts, and texts of random tokens, since users write others than these."""
    for row in [*calibration.judged.tokens, *sample_tokens(config.vocab_size, config.context_length)]:
        ids, mask = pad([row], row[-1])
        yield {"input_ids": ids, "attention_mask": mask}


def _prepare(paths: list[Path], preprocessing: Preprocessing) -> NDArray[np.float32]:
    prepared: list[NDArray[np.float32]] = []
    problems: dict[Path, InputError] = {}
    for path in paths:
        try:
            prepared.append(preprocess(images.open(path), preprocessing))
        except InputError as error:
            problems[path] = error
    if problems:
        raise broken_images(problems)
    return np.stack(prepared)
