"""Checking a bundle that is there already: its files, and its figures on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import replace
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
    from medimageinsight.network.model import UniCLModel


def verify_bundle(bundle: Bundle, original: UniCLModel | None = None) -> Parity:
    """Check every file's checksum, run both graphs on the sample inputs, and compare with PyTorch's embeddings.

    Args:
        bundle: The bundle.
        original: Its checkpoint in PyTorch, see `load_original`; the figures are then kept in the bundle. Without one,
            the embeddings that PyTorch gave when the bundle was made are compared with, and PyTorch is not needed.

    Raises:
        BundleError: A file has changed (``bundle_checksum``), or there is nothing to compare with
            (``bundle_parity_unreadable``).
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
    kept = None
    if original is None:
        kept, reference = read_parity(bundle.folder, manifest.embedding_dim)
        _check_lengths(samples, reference)
    else:
        reference = compute_reference(original, samples)
    parity = measure(bundle.folder, samples, reference, manifest.precision)
    parity = replace(parity, forced="forced" in manifest.provenance)
    if kept is not None and kept.agreement.real:  # the pictures are not here, the figures are
        parity = replace(parity, agreement=kept.agreement)
    if not parity.forced:
        parity.check()
    if original is not None:
        with contextlib.suppress(OSError):  # a bundle may lie where it can only be read
            write_text(bundle.folder / PARITY, to_json(parity, reference))
    return parity


def load_original(
    bundle: Bundle, checkpoint: str | Path, *, config: str | Path | None = None, tokenizer: str | Path | None = None
) -> UniCLModel:
    """The checkpoint that a bundle was made from, in PyTorch, on the CPU.

    Args:
        bundle: What was made of it.
        checkpoint: Its file or folder.
        config: As `find_checkpoint`.
        tokenizer: As `find_checkpoint`.

    Raises:
        MissingExtraError: PyTorch is not installed.
        CheckpointError: The checkpoint cannot be loaded.
        ParityError: It has another architecture than the bundle.
    """
    require_torch()
    from medimageinsight.network.checkpoint import load_model

    files = find_checkpoint(checkpoint, config=config, tokenizer=tokenizer)
    architecture = ModelConfig.from_dict(bundle.manifest.architecture)
    if ModelConfig.from_dict(read_description(files).architecture) != architecture:
        raise ParityError("expected the checkpoint this bundle was made from, got one of another architecture")
    return load_model(files.weights, architecture)


def _check_lengths(samples: Samples, reference: Reference) -> None:
    if (len(reference.image), len(reference.text)) != (len(samples.pixels), len(samples.tokens)):
        raise ParityError("expected the reference of this version's samples, got another: compare with the checkpoint")
