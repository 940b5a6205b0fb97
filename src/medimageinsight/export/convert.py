"""Checkpoint to bundle, with proof: a bundle whose embeddings are not PyTorch's is never left behind."""

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medimageinsight.bundle.bundle import (
    IMAGE_ENCODER,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    Bundle,
    describe_file,
)
from medimageinsight.bundle.manifest import FORMAT, Manifest, Precision
from medimageinsight.bundle.provenance import parents_of
from medimageinsight.bundle.writer import new_bundle, write_manifest
from medimageinsight.errors import BundleError, ConfigError, ParityError, missing_extra
from medimageinsight.export.agreement import embed_in_pytorch
from medimageinsight.export.calibration import CalibrationSet, image_inputs, read_calibration, text_inputs
from medimageinsight.export.model_card import generate_model_card
from medimageinsight.export.parity import Parity, Reference, Samples, compute_reference, judge, measure, to_json
from medimageinsight.export.source import CheckpointFiles, ModelDescription, find_checkpoint, read_description
from medimageinsight.export.tokenizer_file import check_tokenizer, read_tokenizer
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Progress = Callable[[str, float], None]


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    precision: Precision = "fp32",
    calibration: str | Path | None = None,
    force: bool = False,
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
        precision: ``fp32``; ``fp16``, half the disk, float16 arithmetic on a GPU alone; or ``int8`` matrix products.
        calibration: Labelled pictures, as `read_calibration` takes them: some give int8 its scales, others judge the
            bundle as it will be used. Needed for int8; the bundle keeps nothing of them but figures.
        force: Keep a bundle whose figures are out of their bounds; its manifest, card and ``parity.json`` say so.
        config: The config, where it is not beside the weights.
        tokenizer: The tokenizer, where it is not beside the weights.
        overwrite: Replace a bundle that is at `out`.
        model_card: Text of ``MODEL_CARD.md``; else a short one is generated.
        progress: Told what is being done and which part of the whole is done, 0 to 1.

    Returns:
        The bundle at `out`, opened.

    Raises:
        CheckpointError: The checkpoint cannot be found or loaded.
        ConfigError: The config or the precision is not supported, or int8 without ``calibration``.
        DatasetError: The calibration pictures cannot be used.
        BundleError: `out` cannot be written.
        ParityError: The graphs do not give PyTorch's embeddings. Nothing is left at `out`.
        MissingExtraError: The extra ``export`` is not installed.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected {' or '.join(PRECISIONS)}, got {precision!r}", code="precision_unknown")
    if precision == "int8" and calibration is None:
        raise ConfigError(
            "precision int8: expected labelled pictures for calibration, got none: scales and bounds need real ones",
            code="calibration_missing",
        )
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
        pictures = None if calibration is None else _read_calibration(calibration, folder, architecture, preprocessing)
        model, provenance = _load(files, description, architecture, report)
        written = _export(model, folder, precision, pictures, report)
        parity = _verify(model, folder, precision, preprocessing, pictures, report, force=force)
        if parity.forced:
            provenance["forced"] = f"kept with --force: its figures are not within the bounds of {precision}"
        manifest = Manifest(
            format=FORMAT,
            name=name or description.name or Path(out).absolute().name,
            description=description.description,
            precision=precision,
            architecture=architecture.to_dict(),
            preprocessing=preprocessing.to_dict(),
            scoring_preprocessing=description.scoring_preprocessing,
            embedding_dim=architecture.embedding_dim,
            context_length=architecture.text.context_length,
            logit_scale=float(model.logit_scale),
            files={},
            versions=_versions(),
            provenance=provenance,
            parents=parents_of(provenance),
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


def _read_calibration(
    source: str | Path, folder: Path, architecture: ModelConfig, preprocessing: Preprocessing
) -> CalibrationSet:
    tokenizer = Tokenizer.from_file(folder / TOKENIZER, architecture.text.context_length)
    return read_calibration(source, preprocessing, tokenizer)


def _export(
    model: UniCLModel, folder: Path, precision: Precision, pictures: CalibrationSet | None, report: Progress
) -> tuple[str, ...]:
    """Both graphs in their precision; the names of the files written."""
    from medimageinsight.export.graphs import export_image_encoder, export_text_encoder
    from medimageinsight.export.precision import quantize, store_half
    from medimageinsight.export.rewriting import rewrite

    rewritten = rewrite(model)
    with contextlib.ExitStack() as stack:
        wide = folder  # where the float32 graphs go
        if precision != "fp32":
            wide = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        report("exporting the image encoder", 0.15)
        image = export_image_encoder(rewritten, wide / IMAGE_ENCODER)
        report("exporting the text encoder", 0.35)
        text = export_text_encoder(rewritten, wide / TEXT_ENCODER)
        if precision == "fp16":
            report("storing float16 weights", 0.45)
            image, text = (store_half(wide / graph, folder / graph) for graph in (IMAGE_ENCODER, TEXT_ENCODER))
        if precision == "int8" and pictures is not None:
            report("quantising", 0.45)
            image = quantize(wide / IMAGE_ENCODER, folder / IMAGE_ENCODER, image_inputs(pictures))
            text = quantize(wide / TEXT_ENCODER, folder / TEXT_ENCODER, text_inputs(pictures, model.config.text))
    return image + text


def _verify(
    model: UniCLModel,
    folder: Path,
    precision: Precision,
    preprocessing: Preprocessing,
    pictures: CalibrationSet | None,
    report: Progress,
    *,
    force: bool,
) -> Parity:
    """Compare with PyTorch and write the figures down.

    Raises:
        ParityError: They are out of bounds and not forced.
    """
    text = model.config.text
    samples = Samples.of(preprocessing, vocab_size=text.vocab_size, context_length=text.context_length)
    report("running PyTorch for comparison", 0.5)
    reference = compute_reference(model, samples)
    report("comparing ONNX Runtime with PyTorch", 0.65)
    parity = measure(
        folder,
        samples,
        reference,
        precision,
        lambda part: report("comparing ONNX Runtime with PyTorch", 0.65 + 0.15 * part),
    )
    if pictures is not None:
        report("comparing on your pictures", 0.8)
        embeddings = Reference(*embed_in_pytorch(model, pictures.judged.pixels, pictures.judged.tokens))
        parity = replace(parity, agreement=judge(folder, pictures.judged, embeddings))
    try:
        parity.check()
    except ParityError:
        if not force:
            raise
        parity = replace(parity, forced=True)
    (folder / PARITY).write_text(to_json(parity, reference), encoding="utf-8")
    return parity


def _versions() -> dict[str, str]:
    packages = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "tokenizers", "torch")
    return {"medimageinsight-onnx": __version__} | {name: importlib.metadata.version(name) for name in packages}


def _say_nothing(stage: str, part: float) -> None:
    """For a caller who does not ask for progress."""
