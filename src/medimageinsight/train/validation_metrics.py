"""Scores of the averaged weights on the validation split, computed by the code that scores a finished model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.adapters import score_probabilities
from medimageinsight.datasets import patient_ids
from medimageinsight.evaluate import EvaluationSettings, choose_prompts, score_table
from medimageinsight.metrics.calibration import fit_temperature
from medimageinsight.metrics.heads import activate, head_logits
from medimageinsight.metrics.patients import number_patients
from medimageinsight.metrics.scores import roc_auc
from medimageinsight.metrics.vectors import unit_rows
from medimageinsight.preprocess import Preprocessing, preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.head import LabelHead

BATCH_SIZE = 64
MAX_CACHED = 2 << 30  # bytes
MAX_CAPTIONS = 1000  # embedded in a validation, as prompts of classes and, separately, to compute their AUC


class ValidationImages:
    """The images of samples, preprocessed once and cached; preprocessed each time if they exceed `MAX_CACHED`."""

    def __init__(self, samples: Sequence[Sample], preprocessing: Preprocessing) -> None:
        self.samples, self.preprocessing = samples, preprocessing
        height, width = preprocessing.image_size
        self.cached: npt.NDArray[np.float32] | None = None
        if samples and len(samples) * 12 * height * width <= MAX_CACHED:
            self.cached = self._preprocess(0, len(samples))

    def embed(self, model: UniCLModel) -> npt.NDArray[np.float32]:
        """Return the embeddings, (N, D); the model is in evaluation mode afterwards."""
        model.eval()
        device = model.logit_scale.device
        with torch.inference_mode():
            parts = [
                model.encode_image(torch.from_numpy(self._preprocess(start, start + BATCH_SIZE)).to(device)).cpu()
                for start in range(0, len(self.samples), BATCH_SIZE)
            ]
        return np.concatenate([part.numpy() for part in parts])

    def _preprocess(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Return some of the images, (n, 3, H, W)."""
        if self.cached is not None:
            return self.cached[start:end]
        return np.stack(
            [preprocess(images.open(sample.image_source()), self.preprocessing) for sample in self.samples[start:end]]
        )


class TextValidator:
    """Zero-shot scores of a model that is trained on texts.

    If the split has no findings, captions are scored instead: the mean over captions of the AUC of the images with this
    caption against all others.
    """

    selected_by = ("val_mean_auc", "val_caption_auc")  # the first that the split allows

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.table = limit_captions(table, split)
        self.settings = EvaluationSettings(split=split, resamples=1, min_positives=1)  # no intervals during training
        self.prompts = choose_prompts(self.table, split)
        self.tokenizer = tokenizer
        samples = table.of_split(split).samples
        self.images = ValidationImages(samples, preprocessing)
        self.captions = sorted({sample.caption for sample in samples})[:MAX_CAPTIONS]
        numbers = {caption: number for number, caption in enumerate(self.captions)}
        self.caption_numbers = np.array([numbers.get(sample.caption, -1) for sample in samples])  # (N,); -1: none

    def score(self, model: UniCLModel) -> dict[str, float]:
        """Return the scores that the split allows, by name."""
        vectors = self.images.embed(model)
        prompts = self._embed_texts(model, self.prompts.texts)
        report = score_table(
            self.table, vectors, self.prompts, prompts, model.logit_scale.item(), settings=self.settings
        )
        figures = {
            "val_modality_accuracy": report.modality_accuracy,
            "val_anatomy_accuracy": report.anatomy_accuracy,
            "val_mean_auc": report.mean_auc,
        }
        scores = {name: figure.value for name, figure in figures.items() if figure is not None}
        if report.mean_auc is None:
            captions = self._embed_texts(model, self.captions)
            aucs = [roc_auc(vectors @ caption, self.caption_numbers == i) for i, caption in enumerate(captions)]
            scores["val_caption_auc"] = float(np.mean(aucs))
        return scores

    def _embed_texts(self, model: UniCLModel, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the embeddings, (M, D)."""
        device, token_ids = model.logit_scale.device, self.tokenizer.encode(texts)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(token_ids), BATCH_SIZE):
                ids, mask = map(torch.from_numpy, self.tokenizer.pad(token_ids[start : start + BATCH_SIZE]))
                parts.append(model.encode_text(ids.to(device), mask.to(device)).cpu())
        return torch.cat(parts).numpy()


def limit_captions(table: Table, split: str) -> Table:
    """Return the images of the split, and captions of all splits as prompts, with at most `MAX_CAPTIONS` captions.

    With a report per image, embedding all captions would take longer than the training between two validations. If
    there are more, the first ones of each class are used, a class being a label with a finding, or a modality and
    anatomy. An image with another caption gets the first of its class.
    """
    if len({sample.caption for sample in table}) <= MAX_CAPTIONS:
        return table
    captions: dict[tuple[str, ...], dict[str, None]] = {}
    for sample in table:
        captions.setdefault(_class_key(sample), {})[sample.caption] = None
    count = max(1, MAX_CAPTIONS // len(captions))
    selected = {key: list(texts)[:count] for key, texts in captions.items()}
    used = {text for texts in selected.values() for text in texts}
    rows = [
        sample if sample.caption in used else replace(sample, caption=selected[_class_key(sample)][0])
        for sample in table
        if sample.caption in used or sample.split == split
    ]
    return replace(table, samples=tuple(rows))


def _class_key(sample: Sample) -> tuple[str, ...]:
    """Return the attributes of an image that a validation classifies."""
    parts = (sample.modality, sample.anatomy)
    return (sample.source, sample.label, *parts) if sample.label and sample.finding else parts


class LabelValidator:
    """Scores of a classification head on the images with a label that it knows."""

    selected_by = ("val_label_auc", "val_label_accuracy")

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, head: LabelHead) -> None:
        self.head = head
        labels, label_name = head.names.labels, head.names.name
        samples = tuple(sample for sample in table.of_split(split).samples if label_name(sample) in labels)
        self.images = ValidationImages(samples, preprocessing)
        self.truth = np.array([[label_name(sample) == label for label in labels] for sample in samples])
        self.patients = number_patients(patient_ids(samples), len(samples))

    def score(self, model: UniCLModel) -> dict[str, float]:
        """Return the scores by name; the head stores all figures with intervals, and its calibrated temperature."""
        logits = head_logits((self.head.layer(),), unit_rows(self.images.embed(model)))
        weights = np.ones_like(logits[:, :1])
        self.head.temperature = fit_temperature(logits, self.truth.astype(np.float64), weights, "softmax")
        probabilities = activate(logits / self.head.temperature, "softmax")
        figures = score_probabilities(
            probabilities,
            self.truth,
            self.head.names.labels,
            "softmax",
            groups=self.patients,
            scored_on="validation",
        )
        self.head.figures = figures
        scores = {} if figures.accuracy is None else {"val_label_accuracy": figures.accuracy.value}
        # Of any number of images, unlike the figures: the scores are compared with each other only.
        aucs = [
            roc_auc(column, flags)
            for column, flags in zip(probabilities.T, self.truth.T, strict=True)
            if flags.any() and not flags.all()
        ]
        return scores | ({"val_label_auc": float(np.mean(aucs))} if aucs else {})
