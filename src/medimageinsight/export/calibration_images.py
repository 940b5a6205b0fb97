"""Labelled images of the user for a conversion: some give int8 its scales, the rest are for the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import images
from medimageinsight.datasets import broken_images, read_folder, read_table
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.export.measure_parity import MIN_IMAGES
from medimageinsight.export.sample_inputs import ComparisonInputs, sample_tokens
from medimageinsight.export.text_precision import held_out_tokens
from medimageinsight.preprocess import Preprocessing, preprocess
from medimageinsight.tokenizer import Tokenizer, pad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medimageinsight.network.config import TextEncoderConfig

SEED = 2024
MAX_SCALE_IMAGES = 100
MAX_COMPARISON_IMAGES = 200
MAX_PROMPTS = 256
HELD_OUT_EVERY = 4  # of the prompts, one of so many judges the text encoder; the others give scales


@dataclass(frozen=True, kw_only=True)
class CalibrationImages:
    """The two disjoint parts of a folder of labelled images."""

    scale_pixels: NDArray[np.float32]  # (M, 3, H, W), for the scales of activations
    scale_tokens: list[list[int]]  # of most prompts, for the scales of the text encoder
    held_out_tokens: list[list[int]]  # of the other prompts and further texts, to judge the text encoder by
    comparison: ComparisonInputs


def read_calibration(source: str | Path, preprocessing: Preprocessing, tokenizer: Tokenizer) -> CalibrationImages:
    """Draw images from a folder with one subfolder per label, or from a table, and preprocess them.

    The order is drawn from a fixed seed. The first third gives scales and the rest is for the comparison, each up to
    its maximum; the prompts are the captions of all images, and most give scales.

    Raises:
        DatasetError: The source cannot be read, has too few images (``calibration_too_small``), or has images that
            cannot be read (``dataset_broken_images``).
    """
    source = Path(source)
    table = read_folder(source) if source.is_dir() else read_table(source)
    scale_count = min(MAX_SCALE_IMAGES, len(table) // 3)
    comparison_count = min(MAX_COMPARISON_IMAGES, len(table) - scale_count)
    if comparison_count < MIN_IMAGES or scale_count < 1:
        raise DatasetError(
            f"expected {MIN_IMAGES * 3 // 2} images or more for calibration, got {len(table)}: add some",
            code="calibration_too_small",
        )
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(len(table))[: scale_count + comparison_count]
    pixels: list[NDArray[np.float32]] = []
    errors: dict[Path, InputError] = {}
    for path in (table.samples[index].path for index in order):
        try:
            pixels.append(preprocess(images.open(path), preprocessing))
        except InputError as error:
            errors[path] = error
    if errors:
        raise broken_images(errors)
    label_of = {sample.caption: (sample.source, sample.label or sample.caption) for sample in table}
    labels = list(dict.fromkeys(label_of.values()))
    captions = list(label_of)[:MAX_PROMPTS]
    tokens = [list(row) for row in tokenizer.encode(captions)]
    comparison = ComparisonInputs(
        pixels=np.stack(pixels[scale_count:]),
        tokens=tokens,
        labels=[labels.index(label_of[caption]) for caption in captions],
    )
    return CalibrationImages(
        scale_pixels=np.stack(pixels[:scale_count]),
        scale_tokens=[row for index, row in enumerate(tokens) if index % HELD_OUT_EVERY],
        held_out_tokens=held_out_tokens(tokenizer, captions[::HELD_OUT_EVERY]),
        comparison=comparison,
    )


def image_scale_inputs(calibration: CalibrationImages) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the image encoder's inputs that give its scales, one image each."""
    for pixels in calibration.scale_pixels:
        yield {"pixel_values": pixels[np.newaxis]}


def text_scale_inputs(calibration: CalibrationImages, config: TextEncoderConfig) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the text encoder's: some prompts, and texts of random tokens to cover texts that are not prompts."""
    for row in [*calibration.scale_tokens, *sample_tokens(config.vocab_size, config.context_length)]:
        ids, mask = pad([row], row[-1])
        yield {"input_ids": ids, "attention_mask": mask}
