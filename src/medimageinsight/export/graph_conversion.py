"""ONNX graphs to bundle: Azure's ONNX edition, or the two encoders of another CLIP-like model."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle import (
    IMAGE_ENCODER,
    MANIFEST_FORMAT,
    MODEL_CARD,
    PARITY,
    TEXT_ENCODER,
    TOKENIZER,
    Bundle,
    Manifest,
    check_target,
    new_bundle,
    parents_of,
    write_manifest,
)
from medimageinsight.errors import CheckpointError, ConfigError, ParityError
from medimageinsight.export.checkpoint_files import find_checkpoint
from medimageinsight.export.graph_extraction import write_image_encoder, write_text_encoder
from medimageinsight.export.graph_roles import Encoder, Names, find_logit_scale, precision_of, recognise
from medimageinsight.export.graph_settings import GraphSettings, find_graphs, read_settings
from medimageinsight.export.measure_parity import compute_reference, measure_parity
from medimageinsight.export.model_card import compose_model_card
from medimageinsight.export.model_description import read_description
from medimageinsight.export.parity import BOUNDS, GRAPH_BOUNDS, SOURCE_GRAPHS, Parity, Reference, to_json
from medimageinsight.export.pytorch_encoders import require_torch
from medimageinsight.export.sample_inputs import ComparisonInputs, generate_samples
from medimageinsight.export.source_encoders import SourceEncoders
from medimageinsight.export.source_graph import SourceGraph, data_files, iterate_graphs, read_graph
from medimageinsight.export.tokenizer_file import check_tokenizer, read_tokenizer
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.weights_files import describe_files
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.network.model import UniCLModel

DEFAULT_CONTEXT = 77  # CLIP's, where nothing states another
MAX_LOG_SCALE = 10.0  # a larger number is the scale itself, not its logarithm


def convert_graphs(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    names: Names | None = None,
    tokenizer: str | Path | None = None,
    preprocessing: str | Path | None = None,
    logit_scale: float | None = None,
    against: str | Path | None = None,
    name: str | None = None,
    force: bool = False,
    overwrite: bool = False,
    model_card: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Bundle:
    """Make a bundle of ONNX graphs, and write it only if its embeddings are those of the graphs.

    Args:
        source: A folder, such as the MLflow folder of Azure's ONNX edition, or the files of one or two graphs.
        out: The bundle's folder, as for `convert`.
        names: Inputs and outputs that are not to be recognised.
        tokenizer: The tokenizer. Default: that of the folder.
        preprocessing: ``config.yaml``, ``preprocessor_config.json`` or a JSON file of image_size, mean and std.
            Default: that of the folder.
        logit_scale: The logarithm of the scale. Default: that of the checkpoint or of the graphs.
        against: A checkpoint that the bundle is also compared with in PyTorch.
        name: The model's name. Default: that of `out`.
        force: Accept figures out of bounds; they are marked.
        overwrite: Replace a bundle at `out`.
        model_card: Text of ``MODEL_CARD.md``. Default: a short one.
        progress: Called with the stage and the part that is done, 0 to 1.

    Raises:
        CheckpointError: The graphs cannot be read, recognised or run, or a file next to them is missing.
        ConfigError: The preprocessing is not supported, or no logit scale is known (``logit_scale_missing``).
        ParityError: The bundle's embeddings differ from those of the graphs or of PyTorch. Nothing remains at `out`.
        BundleError: `out` cannot be written.
        MissingExtraError: The extra ``export`` is not installed.
    """
    report = progress or (lambda *_: None)
    check_target(out, overwrite=overwrite)
    report("reading the graphs", 0.0)
    model = _read_source(source, names or Names(), tokenizer, preprocessing)
    original = None if against is None else _load_original(against)
    scale = _logit_scale(model, original, logit_scale)
    with new_bundle(out, overwrite=overwrite) as folder:
        report("writing the graphs", 0.1)
        vocabulary = read_tokenizer(model.settings.tokenizer)
        check_tokenizer(vocabulary, size := vocabulary.get_vocab_size())
        vocabulary.save(str(folder / TOKENIZER), pretty=False)
        samples = generate_samples(model.settings.preprocessing, vocab_size=size, context_length=model.context_length)
        graphs = _write_graphs(model, folder, samples)
        report("running the source graphs", 0.3)
        reference = model.encoders.compute_reference(samples)
        report("comparing with the source graphs", 0.5)
        parity = _compare(folder, samples, reference, model, force=force)
        if original is not None:
            report("comparing with PyTorch", 0.7)
            reference = compute_reference(original, samples)
            parity = _compare(folder, samples, reference, model, force=force or parity.forced, exact=True)
        (folder / PARITY).write_text(to_json(parity, reference), encoding="utf-8")
        manifest = _describe(
            model, name or Path(out).absolute().name, scale, reference.image.shape[1], parity, original
        )
        (folder / MODEL_CARD).write_text(model_card or compose_model_card(manifest, parity), encoding="utf-8")
        write_manifest(folder, manifest, (*graphs, TOKENIZER))
    report("done", 1.0)
    return Bundle.open(out)


@dataclass(frozen=True, kw_only=True)
class _Model:
    graphs: tuple[SourceGraph, ...]  # of the two encoders, one or two
    image: Encoder
    text: Encoder
    settings: GraphSettings
    context_length: int
    encoders: SourceEncoders


def _read_source(
    source: str | Path | Sequence[str | Path],
    names: Names,
    tokenizer: str | Path | None,
    preprocessing: str | Path | None,
) -> _Model:
    one = isinstance(source, str | Path)
    paths = [Path(source).expanduser()] if isinstance(source, str | Path) else [Path(p).expanduser() for p in source]
    for path in paths:
        if not path.exists():
            raise CheckpointError("expected an existing graph or folder, got none", code="checkpoint_not_found")
    root = paths[0] if one and paths[0].is_dir() else paths[0].parent
    files = find_graphs(root) if one and paths[0].is_dir() else paths
    found = [read_graph(file, root=root if one else None) for file in files]
    image, text = recognise(found, names)
    settings = read_settings(
        root,
        preprocessing=None if preprocessing is None else Path(preprocessing).expanduser(),
        tokenizer=None if tokenizer is None else Path(tokenizer).expanduser(),
    )
    fixed = text.data.shape[1] if text.data.shape else None
    context = fixed if isinstance(fixed, int) else settings.context_length or DEFAULT_CONTEXT
    size = settings.preprocessing.image_size
    return _Model(
        graphs=(image.graph,) if image.graph is text.graph else (image.graph, text.graph),
        image=image,
        text=text,
        settings=settings,
        context_length=context,
        encoders=SourceEncoders(image, text, image_size=size, context_length=context),
    )


def _load_original(checkpoint: str | Path) -> UniCLModel:
    require_torch()
    from medimageinsight.network.checkpoint import load_model

    files = find_checkpoint(checkpoint)
    return load_model(files.weights, ModelConfig.from_dict(read_description(files).architecture))


def _logit_scale(model: _Model, original: UniCLModel | None, given: float | None) -> float:
    """Return the logarithm of the scale: the given one, the checkpoint's, an output's or a weight's."""
    import onnx

    value = given
    if value is None and original is not None:
        value = float(original.logit_scale)
    if value is None and (found := find_logit_scale(model.graphs)) is not None:
        value = model.encoders.run_constant(*found)
    if value is None:
        named = [
            tensor
            for graph in model.graphs
            for inner in iterate_graphs(graph.model)
            for tensor in getattr(inner, "initializer", ())
            if "logit_scale" in tensor.name and not len(tensor.external_data)
        ]
        sizes = [onnx.numpy_helper.to_array(tensor) for tensor in named]
        value = next((float(array.reshape(())) for array in sizes if array.size == 1), None)
    if value is None:
        raise ConfigError(
            "expected a logit scale in the graphs, got none: give its logarithm with --logit-scale, 4.5134 for the "
            "released model",
            code="logit_scale_missing",
        )
    value = math.log(value) if value > MAX_LOG_SCALE else value
    if not -MAX_LOG_SCALE <= value <= MAX_LOG_SCALE:  # also NaN
        raise ConfigError(
            "expected the logarithm of a logit scale, got a number out of range", code="logit_scale_missing"
        )
    return value


def _write_graphs(model: _Model, folder: Path, samples: ComparisonInputs) -> tuple[str, ...]:
    size = model.settings.preprocessing.image_size
    image = write_image_encoder(model.image, folder / IMAGE_ENCODER, image_size=size)
    text = write_text_encoder(
        model.text,
        folder / TEXT_ENCODER,
        context_length=model.context_length,
        end_id=samples.tokens[0][-1],
        padded=not model.encoders.takes_any_length(samples.tokens[1]),
    )
    return (*image, *text)


def _compare(
    folder: Path, samples: ComparisonInputs, reference: Reference, model: _Model, *, force: bool, exact: bool = False
) -> Parity:
    """Compare the bundle's graphs with a reference; `exact` for PyTorch's, with the bounds of a conversion."""
    precision = precision_of(model.graphs)
    bounds = GRAPH_BOUNDS[precision]
    if exact:
        bounds = replace(BOUNDS[precision], max_batch_diff=bounds.max_batch_diff)
    parity = replace(measure_parity(folder, samples, reference, precision), bounds=bounds)
    try:
        parity.check()
    except ParityError:
        if not force:
            raise
        return replace(parity, forced=True)
    return parity


def _describe(
    model: _Model, name: str, logit_scale: float, embedding_dim: int, parity: Parity, original: UniCLModel | None
) -> Manifest:
    precision, settings = precision_of(model.graphs), model.settings
    source = describe_files(file for graph in model.graphs for file in (graph.path, *data_files(graph)))
    provenance: dict[str, Any] = {
        SOURCE_GRAPHS: [graph.describe() for graph in model.graphs],
        "compared_with": "the source graphs" if original is None else "the source graphs and PyTorch",
        "checkpoint": {"bytes": source.bytes, "sha256": source.sha256},
    }
    if parity.forced:
        provenance["forced"] = "written with --force: its figures are not within the bounds"
    unknown = {
        "image": {"image_size": list(settings.preprocessing.image_size)},
        "text": {"context_length": model.context_length},
    }
    packages = ("numpy", "onnx", "onnx-ir", "onnxruntime", "tokenizers")
    return Manifest(
        format=MANIFEST_FORMAT,
        name=name,
        description="Made of ONNX graphs.",
        precision=precision,
        architecture=original.config.to_dict() if original is not None else settings.architecture or unknown,
        preprocessing=settings.preprocessing.to_dict(),
        scoring_preprocessing="azure" if settings.hosted else "direct",
        embedding_dim=embedding_dim,
        context_length=model.context_length,
        logit_scale=logit_scale,
        files={},
        versions={"medimageinsight-onnx": __version__}
        | {package: importlib.metadata.version(package) for package in packages},
        provenance=provenance,
        parents=parents_of(provenance),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
