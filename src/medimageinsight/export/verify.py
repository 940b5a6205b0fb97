"""Checking a bundle that is there already: its files, and its figures on this machine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import PARITY
from medimageinsight.bundle.writer import write_text
from medimageinsight.errors import ParityError
from medimageinsight.export.convert import require_torch
from medimageinsight.export.parity import Samples, compute_reference, measure, read_parity, to_json
from medimageinsight.export.source import find_checkpoint, read_description
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.bundle.bundle import Bundle
    from medimageinsight.export.parity import Parity, Reference


def verify_bundle(
    bundle: Bundle,
    against: str | Path | None = None,
    *,
    config: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Parity:
    """Check every file's checksum, run both graphs on the sample inputs, and compare with PyTorch's embeddings.

    Args:
        bundle: The bundle.
        against: Its checkpoint, which is run in PyTorch; the figures are then kept in the bundle. Without one, the
            embeddings that PyTorch gave when the bundle was made are compared with, and PyTorch is not needed.
        config: As `find_checkpoint`.
        tokenizer: As `find_checkpoint`.

    Raises:
        BundleError: A file has changed (``bundle_checksum``), or there is nothing to compare with
            (``bundle_parity_unreadable``).
        CheckpointError: The checkpoint cannot be loaded.
        ParityError: The embeddings differ; the message has the figure.
    """
    bundle.verify()
    manifest = bundle.manifest
    architecture = ModelConfig.from_dict(manifest.architecture)
    samples = Samples.of(
        Preprocessing.from_dict(manifest.preprocessing),
        vocab_size=architecture.text.vocab_size,
        context_length=manifest.context_length,
    )
    if against is None:
        _, reference = read_parity(bundle.folder, manifest.embedding_dim)
        _check_lengths(samples, reference)
    else:
        reference = _reference_of(against, config, tokenizer, architecture, samples)
    parity = measure(bundle.folder, samples, reference)
    parity.check()
    if against is not None:
        with contextlib.suppress(OSError):  # a bundle may lie where it can only be read
            write_text(bundle.folder / PARITY, to_json(parity, reference))
    return parity


def _reference_of(
    against: str | Path,
    config: str | Path | None,
    tokenizer: str | Path | None,
    architecture: ModelConfig,
    samples: Samples,
) -> Reference:
    require_torch()
    from medimageinsight.network.checkpoint import load_model

    files = find_checkpoint(against, config=config, tokenizer=tokenizer)
    found = ModelConfig.from_dict(read_description(files).architecture)
    if found != architecture:
        raise ParityError("expected the checkpoint this bundle was made from, got one of another architecture")
    return compute_reference(load_model(files.weights, architecture), samples)


def _check_lengths(samples: Samples, reference: Reference) -> None:
    if (len(reference.image), len(reference.text)) != (len(samples.pixels), len(samples.tokens)):
        raise ParityError("expected the reference of this version's samples, got another: compare with the checkpoint")
