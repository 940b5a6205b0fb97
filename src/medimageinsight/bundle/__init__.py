"""Bundles, the folders of ready models: manifest, checksums, identity, provenance, and the registry of models."""

from __future__ import annotations

from medimageinsight.bundle.bundle import (
    EVALUATION_BEGIN,
    EVALUATION_END,
    EXTERNAL_DATA_SUFFIX,
    IMAGE_ENCODER,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    Bundle,
    describe_file,
    half_graph,
    sha256_of,
)
from medimageinsight.bundle.identity import ModelIdentity, VectorIdentity, image_checksums
from medimageinsight.bundle.manifest import MANIFEST_FORMAT, FileEntry, Manifest, Parent, Precision
from medimageinsight.bundle.provenance import parents_of, provenance_tree
from medimageinsight.bundle.registry import KNOWN_MODELS, InstalledModel, find, home, installed
from medimageinsight.bundle.writer import new_bundle, write_manifest

__all__ = [
    "EVALUATION_BEGIN",
    "EVALUATION_END",
    "EXTERNAL_DATA_SUFFIX",
    "IMAGE_ENCODER",
    "KNOWN_MODELS",
    "MANIFEST_FORMAT",
    "MODEL_CARD",
    "PARITY",
    "TEXT_ENCODER",
    "TOKENIZER",
    "Bundle",
    "FileEntry",
    "InstalledModel",
    "Manifest",
    "ModelIdentity",
    "Parent",
    "Precision",
    "VectorIdentity",
    "describe_file",
    "find",
    "half_graph",
    "home",
    "image_checksums",
    "installed",
    "new_bundle",
    "parents_of",
    "provenance_tree",
    "sha256_of",
    "write_manifest",
]
