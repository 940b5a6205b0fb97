"""How good the averaged weights are on the validation split, by the same code that scores a finished model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.adapters.figures import score_probabilities
from medimageinsight.adapters.tables import patients_of
from medimageinsight.evaluate import EvaluationSettings, caption_prompts, score_table
from medimageinsight.metrics.calibration import fit_temperature
from medimageinsight.metrics.heads import activate, logits
from medimageinsight.metrics.scores import roc_auc
from medimageinsight.metrics.vectors import number_patients, unit_rows
from medimageinsight.preprocess import Preprocessing, preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.head import LabelHead

BATCH_SIZE = 64
MAX_HELD = 2 << 30  # bytes
MAX_CAPTIONS = 1000  # embedded in a validation, to name classes and, apart from that, to be told apart


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
    """Zero-shot figures, of a model that was trained on texts.

    Where the split has no findings, its captions take their place: the mean over captions of the AUC of the pictures
    that have it against all others.
    """

    choose_by = ("val_mean_auc", "val_caption_auc")  # the first that the split allows

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.table = with_few_captions(table, split)
        self.settings = EvaluationSettings(split=split, resamples=1)  # no intervals while training
        self.prompts = caption_prompts(self.table)
        self.tokenizer = tokenizer
        samples = table.of_split(split).samples
        self.pictures = Pictures(samples, preprocessing)
        self.captions = sorted({sample.caption for sample in samples})[:MAX_CAPTIONS]
        places = {caption: place for place, caption in enumerate(self.captions)}
        self.own_caption = np.array([places.get(sample.caption, -1) for sample in samples])  # (N,); -1: none of these

    def score(self, model: UniCLModel) -> dict[str, float]:
        """By name; what the split does not allow is left out."""
        pictures = self.pictures.embed(model)
        prompts = self._embed(model, self.prompts)
        report = score_table(
            self.table, pictures, self.prompts, prompts, model.logit_scale.item(), settings=self.settings
        )
        figures = {
            "val_modality_accuracy": report.modality_accuracy,
            "val_anatomy_accuracy": report.anatomy_accuracy,
            "val_mean_auc": report.mean_auc,
        }
        found = {name: figure.value for name, figure in figures.items() if figure is not None}
        if report.mean_auc is None:
            captions = self._embed(model, self.captions)
            each = [roc_auc(pictures @ caption, self.own_caption == place) for place, caption in enumerate(captions)]
            found["val_caption_auc"] = float(np.mean(each))
        return found

    def _embed(self, model: UniCLModel, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(M, D)."""
        device, token_ids = model.logit_scale.device, self.tokenizer.encode(texts)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(token_ids), BATCH_SIZE):
                ids, mask = map(torch.from_numpy, self.tokenizer.pad(token_ids[start : start + BATCH_SIZE]))
                parts.append(model.encode_text(ids.to(device), mask.to(device)).cpu())
        return torch.cat(parts).numpy()


def with_few_captions(table: Table, split: str) -> Table:
    """What a validation needs of a table: the pictures of the split, and captions of all splits to name their classes.

    Reports are as many as pictures, and embedding them all would take longer than the steps between two validations. Of
    more than `MAX_CAPTIONS`, each class keeps its first ones: a label with findings, or a modality and anatomy. A
    picture whose caption is not kept has another one of its class.
    """
    if len({sample.caption for sample in table}) <= MAX_CAPTIONS:
        return table
    captions: dict[tuple[str, ...], dict[str, None]] = {}
    for sample in table:
        captions.setdefault(_class_of(sample), {})[sample.caption] = None
    each = max(1, MAX_CAPTIONS // len(captions))
    kept = {of: list(texts)[:each] for of, texts in captions.items()}
    few = {text for texts in kept.values() for text in texts}
    rows = [
        sample if sample.caption in few else replace(sample, caption=kept[_class_of(sample)][0])
        for sample in table
        if sample.caption in few or sample.split == split
    ]
    return replace(table, samples=tuple(rows))


def _class_of(sample: Sample) -> tuple[str, ...]:
    """What a validation asks of a picture."""
    of_parts = (sample.modality, sample.anatomy)
    return (sample.source, sample.label, *of_parts) if sample.label and sample.finding else of_parts


class LabelValidator:
    """Figures of a classification head, on pictures whose label it knows."""

    choose_by = ("val_label_auc", "val_label_accuracy")

    def __init__(self, table: Table, split: str, preprocessing: Preprocessing, head: LabelHead) -> None:
        self.head = head
        labels, name_of = head.names.labels, head.names.of
        samples = tuple(one for one in table.of_split(split).samples if name_of(one) in labels)
        self.pictures = Pictures(samples, preprocessing)
        self.truth = np.array([[name_of(one) == label for label in labels] for one in samples])
        self.groups = number_patients(patients_of(samples), len(samples))

    def score(self, model: UniCLModel) -> dict[str, float]:
        """By name; the head keeps all figures, with their intervals, and the temperature that calibrates it here."""
        values = logits((self.head.layer(),), unit_rows(self.pictures.embed(model)))
        weights = np.ones_like(values[:, :1])
        self.head.temperature = fit_temperature(values, self.truth.astype(np.float64), weights, "softmax")
        figures = score_probabilities(
            activate(values / self.head.temperature, "softmax"),
            self.truth,
            self.head.names.labels,
            "softmax",
            groups=self.groups,
            scored_on="validation",
        )
        self.head.figures = figures
        named = {"val_label_accuracy": figures.accuracy, "val_label_auc": figures.mean_auc}
        return {name: figure.value for name, figure in named.items() if figure is not None}
