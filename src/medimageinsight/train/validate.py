"""How good the averaged weights are on the validation split, by the same code that scores a finished model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.errors import DatasetError
from medimageinsight.evaluate import EvaluationSettings, caption_prompts, score_table
from medimageinsight.preprocess import Preprocessing, preprocess
from medimageinsight.tasks.adapter_figures import score_probabilities
from medimageinsight.tasks.calibration import fit_temperature
from medimageinsight.tasks.heads import activate, logits
from medimageinsight.tasks.tables import patients_of
from medimageinsight.tasks.vectors import number_patients, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.head import LabelHead

BATCH_SIZE = 64
MAX_HELD = 2 << 30  # bytes


class Pictures:
    """Samples' pictures, held prepared at one size, or prepared each time where they are many."""

    def __init__(self, samples: Sequence[Sample], preprocessing: Preprocessing) -> None:
        self.samples, self.preprocessing = samples, preprocessing
        height, width = preprocessing.image_size
        small = len(samples) * 12 * height * width <= MAX_HELD
        self.held: npt.NDArray[np.float32] | None = None
        if small and samples:
            self.held = self._prepared(0, len(samples))

    def embed(self, model: UniCLModel) -> npt.NDArray[np.float32]:
        """(N, D); the model is in evaluation mode afterwards."""
        model.eval()
        device = model.logit_scale.device
        with torch.inference_mode():
            parts = [
                model.encode_image(torch.from_numpy(self._prepared(start, start + BATCH_SIZE)).to(device)).cpu()
                for start in range(0, len(self.samples), BATCH_SIZE)
            ]
        return np.concatenate([part.numpy() for part in parts])

    def _prepared(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Some of the pictures, (n, 3, H, W)."""
        if self.held is not None:
            return self.held[start:end]
        return np.stack(
            [preprocess(images.open(sample.picture()), self.preprocessing) for sample in self.samples[start:end]]
        )


class TextValidator:
    """Zero-shot figures, of a model that was trained on texts."""

    choose_by = ("val_mean_auc", "val_modality_accuracy")  # the first that the split allows

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.table = table
        self.settings = EvaluationSettings(split=split, resamples=1)  # no intervals while training
        self.prompts = caption_prompts(table)
        self.token_ids = tokenizer.encode(self.prompts)
        self.tokenizer = tokenizer
        self.pictures = Pictures(table.of_split(split).samples, preprocessing)

    def score(self, model: UniCLModel) -> dict[str, float]:
        """By name; what the split does not allow is left out."""
        pictures = self.pictures.embed(model)
        report = score_table(
            self.table, pictures, self.prompts, self._embed(model), model.logit_scale.item(), settings=self.settings
        )
        figures = {
            "val_modality_accuracy": report.modality_accuracy,
            "val_anatomy_accuracy": report.anatomy_accuracy,
            "val_mean_auc": report.mean_auc,
        }
        return {name: figure.value for name, figure in figures.items() if figure is not None}

    def _embed(self, model: UniCLModel) -> npt.NDArray[np.float32]:
        """The prompts, (M, D)."""
        device = model.logit_scale.device
        parts = []
        with torch.inference_mode():
            for start in range(0, len(self.token_ids), BATCH_SIZE):
                ids, mask = map(torch.from_numpy, self.tokenizer.pad(self.token_ids[start : start + BATCH_SIZE]))
                parts.append(model.encode_text(ids.to(device), mask.to(device)).cpu())
        return torch.cat(parts).numpy()


class LabelValidator:
    """Figures of a classification head, on pictures whose label it knows."""

    choose_by = ("val_label_auc", "val_label_accuracy")

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, head: LabelHead) -> None:
        self.head = head
        samples = tuple(one for one in table.of_split(split).samples if head.label_of(one) in head.labels)
        if not samples:
            raise DatasetError(
                f"expected pictures of split {split!r} with labels of the training split, found none: label some",
                code="labels_missing",
            )
        self.pictures = Pictures(samples, preprocessing)
        self.truth = np.array([[head.label_of(one) == label for label in head.labels] for one in samples])
        self.groups = number_patients(patients_of(samples), len(samples))

    def score(self, model: UniCLModel) -> dict[str, float]:
        """By name; the head keeps all figures, with their intervals, and the temperature that calibrates it here."""
        values = logits((self.head.layer(),), unit_rows(self.pictures.embed(model)))
        weights = np.ones_like(values[:, :1])
        self.head.temperature = fit_temperature(values, self.truth.astype(np.float64), weights, "softmax")
        figures = score_probabilities(
            activate(values / self.head.temperature, "softmax"),
            self.truth,
            self.head.labels,
            "softmax",
            groups=self.groups,
            scored_on="validation",
        )
        self.head.figures = figures
        named = {"val_label_accuracy": figures.accuracy, "val_label_auc": figures.mean_auc}
        return {name: figure.value for name, figure in named.items() if figure is not None}
