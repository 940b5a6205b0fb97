"""Checkpoint to bundle: conversion to ONNX, comparison with PyTorch, accuracy on labelled images, the model card.

    from medimageinsight.export import convert, verify

    bundle = convert("path/to/2024.09.27", "medimageinsight")
    verify(bundle)

Names are imported when they are first used; those that need the extra ``export`` raise an error that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports

if TYPE_CHECKING:
    from medimageinsight.export.accuracy import measure_accuracy
    from medimageinsight.export.accuracy_results import Accuracy, RuntimeResult, SourceResult
    from medimageinsight.export.checkpoint_files import find_checkpoint
    from medimageinsight.export.conversion import check_conversion, convert
    from medimageinsight.export.graph_conversion import convert_graphs
    from medimageinsight.export.graph_roles import Names
    from medimageinsight.export.graphs import export_image_encoder, export_text_encoder
    from medimageinsight.export.model_card import compose_model_card
    from medimageinsight.export.model_description import read_description
    from medimageinsight.export.parity import BOUNDS, Agreement, Parity, read_parity
    from medimageinsight.export.rewriting import REWRITINGS, rewrite
    from medimageinsight.export.run_record import read_run_record
    from medimageinsight.export.tokenizer_file import check_tokenizer, create_clip_tokenizer, read_tokenizer
    from medimageinsight.export.validation_statistics import measure_statistics, store_statistics
    from medimageinsight.export.verification import load_original, verify

__all__ = [
    "BOUNDS",
    "REWRITINGS",
    "Accuracy",
    "Agreement",
    "Names",
    "Parity",
    "RuntimeResult",
    "SourceResult",
    "check_conversion",
    "check_tokenizer",
    "compose_model_card",
    "convert",
    "convert_graphs",
    "create_clip_tokenizer",
    "export_image_encoder",
    "export_text_encoder",
    "find_checkpoint",
    "load_original",
    "measure_accuracy",
    "measure_statistics",
    "read_description",
    "read_parity",
    "read_run_record",
    "read_tokenizer",
    "rewrite",
    "store_statistics",
    "verify",
]

_MODULES = {
    "accuracy": ("measure_accuracy",),
    "accuracy_results": ("Accuracy", "RuntimeResult", "SourceResult"),
    "checkpoint_files": ("find_checkpoint",),
    "conversion": ("check_conversion", "convert"),
    "graph_conversion": ("convert_graphs",),
    "graph_roles": ("Names",),
    "graphs": ("export_image_encoder", "export_text_encoder"),
    "model_card": ("compose_model_card",),
    "model_description": ("read_description",),
    "parity": ("BOUNDS", "Agreement", "Parity", "read_parity"),
    "rewriting": ("REWRITINGS", "rewrite"),
    "run_record": ("read_run_record",),
    "tokenizer_file": ("check_tokenizer", "create_clip_tokenizer", "read_tokenizer"),
    "validation_statistics": ("measure_statistics", "store_statistics"),
    "verification": ("load_original", "verify"),
}

__getattr__, __dir__ = lazy_exports(
    __name__, __all__, {name: module for module, names in _MODULES.items() for name in names}
)
