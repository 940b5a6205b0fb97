"""Bundles, the folders of ready models: manifest, checksums, identity, provenance, and the registry of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports
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
from medimageinsight.bundle.writer import add_file, check_target, new_bundle, write_manifest

if TYPE_CHECKING:
    from medimageinsight.bundle.image_groups import ImageGroups
    from medimageinsight.bundle.statistics import (
        MIN_IMAGES,
        STATISTICS,
        UNLIKE,
        ValidationStatistics,
        read_statistics,
        write_statistics,
    )
    from medimageinsight.bundle.words import (
        UNKNOWN_WORDS,
        VOCABULARY,
        collect_words,
        find_unknown,
        read_words,
        warn_of_words,
        write_words,
    )

__all__ = [
    "EVALUATION_BEGIN",
    "EVALUATION_END",
    "EXTERNAL_DATA_SUFFIX",
    "IMAGE_ENCODER",
    "KNOWN_MODELS",
    "MANIFEST_FORMAT",
    "MIN_IMAGES",
    "MODEL_CARD",
    "PARITY",
    "STATISTICS",
    "TEXT_ENCODER",
    "TOKENIZER",
    "UNKNOWN_WORDS",
    "UNLIKE",
    "VOCABULARY",
    "Bundle",
    "FileEntry",
    "ImageGroups",
    "InstalledModel",
    "Manifest",
    "ModelIdentity",
    "Parent",
    "Precision",
    "ValidationStatistics",
    "VectorIdentity",
    "add_file",
    "check_target",
    "collect_words",
    "describe_file",
    "find",
    "find_unknown",
    "half_graph",
    "home",
    "image_checksums",
    "installed",
    "new_bundle",
    "parents_of",
    "provenance_tree",
    "read_statistics",
    "read_words",
    "sha256_of",
    "warn_of_words",
    "write_manifest",
    "write_statistics",
    "write_words",
]

# These import numpy, which the command line does without until it needs it.
__getattr__, __dir__ = lazy_exports(
    __name__,
    __all__,
    dict.fromkeys(
        (
            "MIN_IMAGES",
            "STATISTICS",
            "UNLIKE",
            "ValidationStatistics",
            "read_statistics",
            "write_statistics",
        ),
        "statistics",
    )
    | {"ImageGroups": "image_groups"}
    | dict.fromkeys(
        ("UNKNOWN_WORDS", "VOCABULARY", "collect_words", "find_unknown", "read_words", "warn_of_words", "write_words"),
        "words",
    ),
)
