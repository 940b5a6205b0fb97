"""Checkpoint to bundle: a bundle is created only if its embeddings match PyTorch's."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medimageinsight.bundle import (
    IMAGE_ENCODER,
    MANIFEST_FORMAT,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    VOCABULARY,
    Bundle,
    Manifest,
    Precision,
    check_target,
    new_bundle,
    parents_of,
    write_manifest,
    write_words,
)
from medimageinsight.errors import BundleError, ConfigError, ParityError
from medimageinsight.export.calibration_images import (
    CalibrationImages,
    image_scale_inputs,
    read_calibration,
    text_scale_inputs,
)
from medimageinsight.export.checkpoint_files import CheckpointFiles, find_checkpoint
from medimageinsight.export.measure_parity import compute_reference, measure_agreement, measure_parity
from medimageinsight.export.model_card import compose_model_card
from medimageinsight.export.model_description import ModelDescription, read_description
from medimageinsight.export.parity import BOUNDS, Parity, to_json
from medimageinsight.export.pytorch_encoders import require_torch
from medimageinsight.export.sample_inputs import generate_samples
from medimageinsight.export.text_precision import TextPrecision, choose_text_precision
from medimageinsight.export.tokenizer_file import check_tokenizer, read_tokenizer
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel

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
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Convert a checkpoint to a bundle, compare it with PyTorch, and write it to `out` only if it matches.

    Args:
        checkpoint: A folder or a weights file, as `find_checkpoint` takes it.
        out: The bundle's folder, which must not exist, or a bundle that `overwrite` allows to replace.
        name: The model's name; else the checkpoint's, else the folder's.
        precision: ``fp32``; ``fp16``, half the disk, float16 arithmetic on a GPU only; or ``int8`` matrix products.
        calibration: Labelled images, see `read_calibration`; required for int8. The bundle stores only figures of them.
        force: Accept figures out of bounds; the manifest, the card and ``parity.json`` state it.
        config: The config, if it is not next to the weights.
        tokenizer: The tokenizer, if it is not next to the weights.
        overwrite: Replace a bundle at `out`.
        model_card: Text of ``MODEL_CARD.md``; else a short card is generated.
        provenance: Stored in the manifest, in addition to the checkpoint's own.
        progress: Called with the current stage and the part of the conversion that is done, 0 to 1.

    Raises:
        CheckpointError: The checkpoint cannot be found or loaded.
        ConfigError: The config or the precision is not supported, or int8 without ``calibration``.
        DatasetError: The calibration images cannot be used.
        BundleError: `out` cannot be written.
        ParityError: The graphs do not reproduce PyTorch's embeddings. Nothing remains at `out`.
        MissingExtraError: The extra ``export`` is not installed.
    """
    check_conversion(out, precision=precision, calibration=calibration, overwrite=overwrite)
    report = progress or (lambda *_: None)
    report("finding the checkpoint", 0.0)
    files = find_checkpoint(checkpoint, config=config, tokenizer=tokenizer)
    source = _read_source(files, name, default_name=Path(out).absolute().name)
    with new_bundle(out, overwrite=overwrite) as folder:
        images = _write_tokenizer(source, folder, calibration)
        model, recorded = _load_model(source, report)
        graphs, text_precision = _write_graphs(model, folder, precision, images, report)
        parity = _write_parity(
            model, folder, precision, source.preprocessing, images, text_precision, report, force=force
        )
        report("writing the manifest", 0.95)
        manifest = _describe(
            source, precision, float(model.logit_scale), {**recorded, **(provenance or {})}, forced=parity.forced
        )
        (folder / MODEL_CARD).write_text(model_card or compose_model_card(manifest, parity), encoding="utf-8")
        write_manifest(folder, manifest, (*graphs, TOKENIZER, *_write_words(source, folder)))
    report("done", 1.0)
    return Bundle.open(out)


def check_conversion(
    out: str | Path, *, precision: str = "fp32", calibration: str | Path | None = None, overwrite: bool = False
) -> None:
    """Check what `convert` can check without a checkpoint, with its arguments and errors."""
    _check_precision(precision, calibration)
    require_torch()
    check_target(out, overwrite=overwrite)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A checkpoint before its weights are loaded."""

    files: CheckpointFiles
    name: str
    description: ModelDescription
    architecture: ModelConfig
    preprocessing: Preprocessing


def _check_precision(precision: str, calibration: str | Path | None) -> None:
    known = get_args(Precision)
    if precision not in known:
        raise ConfigError(f"precision: expected {' or '.join(known)}, got {precision!r}", code="precision_unknown")
    if precision == "int8" and calibration is None:
        raise ConfigError(
            "precision int8: expected labelled images for calibration, got none: scales and bounds need real ones",
            code="calibration_missing",
        )


def _read_source(files: CheckpointFiles, name: str | None, *, default_name: str) -> _Source:
    description = read_description(files)
    architecture = ModelConfig.from_dict(description.architecture)
    try:
        preprocessing = Preprocessing.from_dict(description.preprocessing)
    except BundleError as error:
        raise ConfigError(f"preprocessing: {error.message}") from None
    if preprocessing.image_size != architecture.image.image_size:
        raise ConfigError(
            f"preprocessing.image_size: expected the network's {architecture.image.image_size}, "
            f"got {preprocessing.image_size}"
        )
    return _Source(
        files=files,
        name=name or description.name or default_name,
        description=description,
        architecture=architecture,
        preprocessing=preprocessing,
    )


def _write_tokenizer(source: _Source, folder: Path, calibration: str | Path | None) -> CalibrationImages | None:
    """Write ``tokenizer.json``, and read the calibration images, whose captions it encodes."""
    vocabulary = read_tokenizer(source.files.tokenizer)
    check_tokenizer(vocabulary, source.architecture.text.vocab_size)
    vocabulary.save(str(folder / TOKENIZER), pretty=False)
    if calibration is None:
        return None
    tokenizer = Tokenizer.from_file(folder / TOKENIZER, source.architecture.text.context_length)
    return read_calibration(calibration, source.preprocessing, tokenizer)


def _write_words(source: _Source, folder: Path) -> tuple[str, ...]:
    """Write ``vocabulary.json`` if the checkpoint names the words of its training; returns the files written."""
    if not source.description.words:
        return ()
    write_words(folder / VOCABULARY, source.description.words)
    return (VOCABULARY,)


def _load_model(source: _Source, report: Progress) -> tuple[UniCLModel, dict[str, Any]]:
    """Load the network; returns it with its provenance."""
    from medimageinsight.network.checkpoint import POSITIONS, load_model, read_shapes
    from medimageinsight.network.weights_files import describe_weights

    weights = source.files.weights
    report("loading the weights", 0.02)
    model = load_model(weights, source.architecture)
    report("hashing the checkpoint", 0.1)
    entry = describe_weights(weights)
    provenance = {**source.description.provenance, "checkpoint": {"bytes": entry.bytes, "sha256": entry.sha256}}
    stored_length = read_shapes(weights)[POSITIONS][0]
    if stored_length != source.architecture.text.context_length:
        provenance["text_positions_resized_from"] = stored_length
    return model, provenance


def _write_graphs(
    model: UniCLModel, folder: Path, precision: Precision, images: CalibrationImages | None, report: Progress
) -> tuple[tuple[str, ...], TextPrecision | None]:
    """Write both graphs in their precision; returns the names of the files written, and the choice of int8."""
    from medimageinsight.export.graphs import export_image_encoder, export_text_encoder
    from medimageinsight.export.precision import quantize, store_half
    from medimageinsight.export.rewriting import rewrite

    rewritten, chosen = rewrite(model), None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        full = folder if precision == "fp32" else Path(scratch)  # of the float32 graphs
        report("exporting the image encoder", 0.15)
        image_files = export_image_encoder(rewritten, full / IMAGE_ENCODER)
        report("exporting the text encoder", 0.35)
        text_files = export_text_encoder(rewritten, full / TEXT_ENCODER)
        if precision == "fp16":
            report("storing float16 weights", 0.45)
            image_files = store_half(full / IMAGE_ENCODER, folder / IMAGE_ENCODER)
            text_files = store_half(full / TEXT_ENCODER, folder / TEXT_ENCODER)
        if precision == "int8" and images is not None:
            report("quantising", 0.45)
            text_inputs = text_scale_inputs(images, model.config.text)
            image_files = quantize(full / IMAGE_ENCODER, folder / IMAGE_ENCODER, image_scale_inputs(images))
            quantised_files = quantize(full / TEXT_ENCODER, folder / TEXT_ENCODER, text_inputs)
            rows, bound = images.held_out_tokens, BOUNDS[precision].min_cosine or 0.0
            chosen = choose_text_precision(full / TEXT_ENCODER, folder / TEXT_ENCODER, rows, bound=bound)
            text_files = quantised_files if chosen.chosen == "int8" else text_files
    return image_files + text_files, chosen


def _write_parity(
    model: UniCLModel,
    folder: Path,
    precision: Precision,
    preprocessing: Preprocessing,
    images: CalibrationImages | None,
    text_precision: TextPrecision | None,
    report: Progress,
    *,
    force: bool,
) -> Parity:
    """Compare with PyTorch and write the figures; one out of bounds is an error unless `force` is set."""
    text = model.config.text
    samples = generate_samples(preprocessing, vocab_size=text.vocab_size, context_length=text.context_length)
    report("running PyTorch for comparison", 0.5)
    reference = compute_reference(model, samples)
    stage = "comparing ONNX Runtime with PyTorch"
    report(stage, 0.65)
    parity = measure_parity(folder, samples, reference, precision, lambda part: report(stage, 0.65 + 0.15 * part))
    parity = replace(parity, text_precision=text_precision)
    if images is not None:
        report("comparing on your images", 0.8)
        expected = compute_reference(model, images.comparison)
        parity = replace(parity, agreement=measure_agreement(folder, images.comparison, expected))
    try:
        parity.check()
    except ParityError:
        if not force:
            raise
        parity = replace(parity, forced=True)
    (folder / PARITY).write_text(to_json(parity, reference), encoding="utf-8")
    return parity


def _describe(
    source: _Source, precision: Precision, logit_scale: float, provenance: dict[str, Any], *, forced: bool
) -> Manifest:
    if forced:
        provenance["forced"] = f"kept with --force: its figures are not within the bounds of {precision}"
    packages = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "tokenizers", "torch")
    versions = {package: importlib.metadata.version(package) for package in packages}
    return Manifest(
        format=MANIFEST_FORMAT,
        name=source.name,
        description=source.description.description,
        precision=precision,
        architecture=source.architecture.to_dict(),
        preprocessing=source.preprocessing.to_dict(),
        scoring_preprocessing=source.description.scoring_preprocessing,
        embedding_dim=source.architecture.embedding_dim,
        context_length=source.architecture.text.context_length,
        logit_scale=logit_scale,
        files={},
        versions={"medimageinsight-onnx": __version__} | versions,
        provenance=provenance,
        parents=parents_of(provenance),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
