"""Adapters, small heads on frozen embeddings: train, score, save and load them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports
from medimageinsight.adapters.adapter import Adapter, train_adapter
from medimageinsight.adapters.figures import AdapterFigures, score_probabilities
from medimageinsight.adapters.file import load_adapter, save_adapter
from medimageinsight.adapters.fitting import AdapterSettings, FittingData, fit_linear
from medimageinsight.adapters.labelled_embeddings import LabelledEmbeddings, check_trainable, split_by_patient

if TYPE_CHECKING:
    from medimageinsight.adapters.tables import (
        ImageModel,
        embed_labelled,
        labelled_samples,
        select_evaluation_samples,
        split_embeddings,
        split_evaluation_embeddings,
    )

__all__ = [
    "Adapter",
    "AdapterFigures",
    "AdapterSettings",
    "FittingData",
    "ImageModel",
    "LabelledEmbeddings",
    "check_trainable",
    "embed_labelled",
    "fit_linear",
    "labelled_samples",
    "load_adapter",
    "save_adapter",
    "score_probabilities",
    "select_evaluation_samples",
    "split_by_patient",
    "split_embeddings",
    "split_evaluation_embeddings",
    "train_adapter",
]

# The readers of datasets are imported when they are first used.
_FROM_TABLES = (
    "ImageModel",
    "embed_labelled",
    "labelled_samples",
    "select_evaluation_samples",
    "split_embeddings",
    "split_evaluation_embeddings",
)
__getattr__, __dir__ = lazy_exports(__name__, __all__, dict.fromkeys(_FROM_TABLES, "tables"))
