"""How good the averaged weights are on the validation split, by the same code that scores a finished model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.evaluate import EvaluationSettings, Report, caption_prompts, score_table
from medimageinsight.preprocess import Preprocessing, preprocess

if TYPE_CHECKING:
    import numpy.typing as npt

    from medimageinsight.datasets.table import Table
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.tokenizer import Tokenizer

BATCH_SIZE = 64
MAX_HELD = 2 << 30  # bytes


class Validator:
    """Holds the split's pictures, prepared at one size, or prepares them each time where they are many."""

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.table = table
        self.settings = EvaluationSettings(split=split, resamples=1)  # no intervals while training
        self.prompts = caption_prompts(table)
        self.token_ids = tokenizer.encode(self.prompts)
        self.tokenizer = tokenizer
        samples = table.of_split(split).samples
        self.samples, self.preprocessing = samples, preprocessing
        height, width = preprocessing.image_size
        small = len(samples) * 12 * height * width <= MAX_HELD
        self.held: npt.NDArray[np.float32] | None = None
        if small:
            self.held = self._prepared(0, len(samples))

    def score(self, model: UniCLModel) -> Report:
        """Zero-shot and retrieval figures; the model is in evaluation mode afterwards."""
        model.eval()
        device = model.logit_scale.device
        with torch.inference_mode():
            pictures = [
                model.encode_image(torch.from_numpy(self._prepared(start, start + BATCH_SIZE)).to(device))
                for start in range(0, len(self.samples), BATCH_SIZE)
            ]
            texts = []
            for start in range(0, len(self.token_ids), BATCH_SIZE):
                ids, mask = map(torch.from_numpy, self.tokenizer.pad(self.token_ids[start : start + BATCH_SIZE]))
                texts.append(model.encode_text(ids.to(device), mask.to(device)))
        return score_table(
            self.table,
            torch.cat(pictures).cpu().numpy(),
            self.prompts,
            torch.cat(texts).cpu().numpy(),
            model.logit_scale.item(),
            settings=self.settings,
        )

    def _prepared(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Some of the pictures, (n, 3, H, W)."""
        if self.held is not None:
            return self.held[start:end]
        return np.stack(
            [preprocess(images.open(sample.picture()), self.preprocessing) for sample in self.samples[start:end]]
        )
