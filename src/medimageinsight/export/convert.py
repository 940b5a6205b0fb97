"""Checkpoint to bundle, with proof: a bundle whose embeddings are not PyTorch's is never left behind."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.bundle import (
    IMAGE_ENCODER,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    Bundle,
    describe_file,
)
from medimageinsight.bundle.manifest import FORMAT, Manifest
from medimageinsight.bundle.writer import new_bundle, write_manifest
from medimageinsight.errors import BundleError, ConfigError, missing_extra
from medimageinsight.export.model_card import generate_model_card
from medimageinsight.export.parity import Parity, Samples, compute_reference, measure, to_json
from medimageinsight.export.source import CheckpointFiles, ModelDescription, find_checkpoint, read_description
from medimageinsight.export.tokenizer_file import check_tokenizer, read_tokenizer
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel

PRECISIONS = ("fp32",)

Progress = Callable[[str, float], None]


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    precision: str = "fp32",
    config: str | Path | None = None,
    tokenizer: str | Path | None = None,
    overwrite: bool = False,
    model_card: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Make a bundle from a checkpoint, compare it with PyTorch, and put it in its place only if it agrees.

    Args:
        checkpoint: A folder or a weights file, as `find_checkpoint` takes it.
        out: The bundle's folder, which must be new, or a bundle that `overwrite` allows to replace.
        name: The model's name; else the checkpoint's own, else the folder's.
        precision: Of weights and arithmetic: ``fp32``.
        config: The config, where it is not beside the weights.
        tokenizer: The tokenizer, where it is not beside the weights.
        overwrite: Replace a bundle that is at `out`.
        model_card: Text of ``MODEL_CARD.md``; else a short one is generated.
        progress: Told what is being done and which part of the whole is done, 0 to 1.

    Returns:
        The bundle at `out`, opened.

    Raises:
        CheckpointError: The checkpoint cannot be found or loaded.
        ConfigError: The config or the precision is not supported.
        BundleError: `out` cannot be written.
        ParityError: The graphs do not give PyTorch's embeddings. Nothing is left at `out`.
        MissingExtraError: The extra ``export`` is not installed.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected {' or '.join(PRECISIONS)}, got {precision!r}", code="precision_unknown")
    require_torch()
    report = progress or _say_nothing
    report("finding the checkpoint", 0.0)
    files = find_checkpoint(checkpoint, config=config, tokenizer=tokenizer)
    description = read_description(files)
    architecture = ModelConfig.from_dict(description.architecture)
    preprocessing = _read_preprocessing(description, architecture)
    with new_bundle(out, overwrite=overwrite) as folder:
        vocabulary = read_tokenizer(files.tokenizer)
        check_tokenizer(vocabulary, architecture.text.vocab_size)
        vocabulary.save(str(folder / TOKENIZER), pretty=False)
        model, provenance = _load(files, description, architecture, report)
        written = _export(model, folder, report)
        parity = _verify(model, folder, preprocessing, report)
        manifest = Manifest(
            format=FORMAT,
            name=name or description.name or Path(out).absolute().name,
            description=description.description,
            precision="fp32",
            architecture=architecture.to_dict(),
            preprocessing=preprocessing.to_dict(),
            scoring_preprocessing=description.scoring_preprocessing,
            embedding_dim=architecture.embedding_dim,
            context_length=architecture.text.context_length,
            logit_scale=float(model.logit_scale),
            files={},
            versions=_versions(),
            provenance=provenance,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        card = model_card or generate_model_card(manifest, parity)
        (folder / MODEL_CARD).write_text(card, encoding="utf-8")
        report("writing the manifest", 0.95)
        write_manifest(folder, manifest, (*written, TOKENIZER))
    report("done", 1.0)
    return Bundle.open(out)


def require_torch() -> None:
    """Say which extra is missing before anything is done.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise missing_extra("export", "converting a checkpoint") from None


def _read_preprocessing(description: ModelDescription, architecture: ModelConfig) -> Preprocessing:
    try:
        preprocessing = Preprocessing.from_dict(description.preprocessing)
    except BundleError as error:
        raise ConfigError(f"preprocessing: {error.message}") from None
    if preprocessing.image_size != architecture.image.image_size:
        raise ConfigError(
            f"preprocessing.image_size: expected the network's {architecture.image.image_size}, "
            f"got {preprocessing.image_size}"
        )
    return preprocessing


def _load(
    files: CheckpointFiles, description: ModelDescription, architecture: ModelConfig, report: Progress
) -> tuple[UniCLModel, dict[str, Any]]:
    """The network with its weights, and where they came from."""
    from medimageinsight.network.checkpoint import POSITIONS, load_model, read_shapes

    report("loading the weights", 0.02)
    model = load_model(files.weights, architecture)
    report("hashing the checkpoint", 0.1)
    source = describe_file(files.weights)
    provenance = {**description.provenance, "checkpoint": {"bytes": source.bytes, "sha256": source.sha256}}
    stored_length = read_shapes(files.weights)[POSITIONS][0]
    if stored_length != architecture.text.context_length:
        provenance["text_positions_resized_from"] = stored_length
    return model, provenance


def _export(model: UniCLModel, folder: Path, report: Progress) -> tuple[str, ...]:
    from medimageinsight.export.graphs import export_image_encoder, export_text_encoder

    report("exporting the image encoder", 0.15)
    image = export_image_encoder(model, folder / IMAGE_ENCODER)
    report("exporting the text encoder", 0.4)
    return image + export_text_encoder(model, folder / TEXT_ENCODER)


def _verify(model: UniCLModel, folder: Path, preprocessing: Preprocessing, report: Progress) -> Parity:
    """Compare with PyTorch and write the figures down.

    Raises:
        ParityError: They are out of bounds.
    """
    text = model.config.text
    samples = Samples.of(preprocessing, vocab_size=text.vocab_size, context_length=text.context_length)
    report("running PyTorch for comparison", 0.55)
    reference = compute_reference(model, samples)
    report("comparing ONNX Runtime with PyTorch", 0.65)
    parity = measure(
        folder, samples, reference, lambda part: report("comparing ONNX Runtime with PyTorch", 0.65 + 0.3 * part)
    )
    parity.check()
    (folder / PARITY).write_text(to_json(parity, reference), encoding="utf-8")
    return parity


def _versions() -> dict[str, str]:
    packages = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "tokenizers", "torch")
    return {"medimageinsight-onnx": __version__} | {name: importlib.metadata.version(name) for name in packages}


def _say_nothing(stage: str, part: float) -> None:
    """For a caller who does not ask for progress."""
