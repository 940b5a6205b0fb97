"""How good the averaged weights are on the validation split, by the same code that scores a finished model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.evaluate import EvaluationSettings, Report, caption_prompts, score_table
from medimageinsight.preprocess import Preprocessing, preprocess

if TYPE_CHECKING:
    from medimageinsight.datasets.table import Table
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.tokenizer import Tokenizer

BATCH_SIZE = 64


class Validator:
    """Holds the split's pictures, prepared at one size."""

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.table = table
        self.settings = EvaluationSettings(split=split, resamples=1)  # no intervals while training
        self.prompts = caption_prompts(table)
        self.token_ids = tokenizer.encode(self.prompts)
        self.tokenizer = tokenizer
        samples = table.of_split(split).samples
        self.pixels = np.stack([preprocess(images.open(sample.path), preprocessing) for sample in samples])

    def score(self, model: UniCLModel) -> Report:
        """Zero-shot and retrieval figures; the model is in evaluation mode afterwards."""
        model.eval()
        with torch.inference_mode():
            pictures = [
                model.encode_image(torch.from_numpy(self.pixels[start : start + BATCH_SIZE]))
                for start in range(0, len(self.pixels), BATCH_SIZE)
            ]
            texts = []
            for start in range(0, len(self.token_ids), BATCH_SIZE):
                input_ids, attention_mask = self.tokenizer.pad(self.token_ids[start : start + BATCH_SIZE])
                texts.append(model.encode_text(torch.from_numpy(input_ids), torch.from_numpy(attention_mask)))
        return score_table(
            self.table,
            torch.cat(pictures).numpy(),
            self.prompts,
            torch.cat(texts).numpy(),
            model.logit_scale.item(),
            settings=self.settings,
        )
