"""The folder a ready model lives in: its manifest, its checksums, and where bundles are found."""

from __future__ import annotations

from medimageinsight.bundle.bundle import (
    IMAGE_ENCODER,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    Bundle,
)
from medimageinsight.bundle.manifest import FileEntry, Manifest, Parent
from medimageinsight.bundle.registry import InstalledModel, find, home, installed

__all__ = [
    "IMAGE_ENCODER",
    "MODEL_CARD",
    "PARITY",
    "TEXT_ENCODER",
    "TOKENIZER",
    "Bundle",
    "FileEntry",
    "InstalledModel",
    "Manifest",
    "Parent",
    "find",
    "home",
    "installed",
]
