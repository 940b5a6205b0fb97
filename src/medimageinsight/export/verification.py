"""Verifying an existing bundle: the checksums of its files, and its embeddings on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.bundle import PARITY, TOKENIZER
from medimageinsight.errors import ParityError
from medimageinsight.export.checkpoint_files import find_checkpoint
from medimageinsight.export.measure_parity import compute_reference, measure_parity
from medimageinsight.export.model_description import read_description
from medimageinsight.export.parity import GRAPH_BOUNDS, SOURCE_GRAPHS, read_parity, to_json
from medimageinsight.export.pytorch_encoders import require_torch
from medimageinsight.export.sample_inputs import generate_samples
from medimageinsight.files.atomic import write_text
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.bundle import Bundle
    from medimageinsight.export.parity import Parity
    from medimageinsight.network.model import UniCLModel


def verify(bundle: Bundle, original: UniCLModel | None = None) -> Parity:
    """Check every file's checksum, run both graphs on the sample inputs, and compare with PyTorch's embeddings.

    With the checkpoint in PyTorch as `original`, see `load_original`, the figures are stored in the bundle. Without it,
    the comparison is with PyTorch's embeddings that the bundle contains, and PyTorch is not needed.

    Raises:
        BundleError: A file has changed (``bundle_checksum``), or the bundle has no embeddings to compare with
            (``bundle_parity_unreadable``).
        ParityError: The embeddings differ; the message has the figure.
    """
    bundle.verify()
    manifest = bundle.manifest
    samples = generate_samples(
        Preprocessing.from_dict(manifest.preprocessing),
        vocab_size=Tokenizer.from_file(bundle.path(TOKENIZER), manifest.context_length).vocab_size,
        context_length=manifest.context_length,
    )
    stored = None
    if original is None:
        stored, reference = read_parity(bundle.folder, manifest.embedding_dim)
        expected, found = (len(samples.pixels), len(samples.tokens)), (len(reference.image), len(reference.text))
        if found != expected:
            raise ParityError(
                f"expected a reference of {expected[0]} images and {expected[1]} texts, got {found[0]} and {found[1]}: "
                "compare with the checkpoint"
            )
    else:
        reference = compute_reference(original, samples)
    parity = replace(
        measure_parity(bundle.folder, samples, reference, manifest.precision), forced="forced" in manifest.provenance
    )
    if SOURCE_GRAPHS in manifest.provenance:
        parity = replace(parity, bounds=GRAPH_BOUNDS[manifest.precision])
    if stored is not None and stored.agreement.real:  # the user's images are not in the bundle, only their figures
        parity = replace(parity, agreement=stored.agreement)
    if not parity.forced:
        parity.check()
    if original is not None:
        with contextlib.suppress(OSError):  # the bundle may be in a read-only folder
            write_text(bundle.folder / PARITY, to_json(parity, reference))
    return parity


def load_original(
    bundle: Bundle, checkpoint: str | Path, *, config: str | Path | None = None, tokenizer: str | Path | None = None
) -> UniCLModel:
    """Load the checkpoint that a bundle was converted from, see `find_checkpoint`, in PyTorch on the CPU.

    Raises:
        MissingExtraError: PyTorch is not installed.
        CheckpointError: The checkpoint cannot be loaded.
        ParityError: Its architecture is not the bundle's.
    """
    require_torch()
    from medimageinsight.network.checkpoint import load_model

    files = find_checkpoint(checkpoint, config=config, tokenizer=tokenizer)
    architecture = ModelConfig.from_dict(read_description(files).architecture)
    of_graphs = SOURCE_GRAPHS in bundle.manifest.provenance  # whose architecture may not be known
    if not of_graphs and ModelConfig.from_dict(bundle.manifest.architecture) != architecture:
        raise ParityError("expected the checkpoint this bundle was made from, got one of another architecture")
    return load_model(files.weights, architecture)
