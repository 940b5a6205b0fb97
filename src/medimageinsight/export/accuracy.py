"""Zero-shot accuracy and speed of a bundle on labelled images, alone or compared with its checkpoint in PyTorch.

The captions of a label are its prompts. Both runtimes get the same pixels, decoded and preprocessed before the time is
taken, one image per call and in turn, so that other load on the machine affects both.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.embedder import Embedder
from medimageinsight.engine import Engine, available_cpus, choose_providers
from medimageinsight.engine.machine import processor
from medimageinsight.errors import DatasetError
from medimageinsight.evaluate.data import prepare_data, scored_samples
from medimageinsight.evaluate.figures import EvaluationSettings
from medimageinsight.evaluate.zero_shot import caption_prompts
from medimageinsight.export.accuracy_results import Accuracy
from medimageinsight.export.accuracy_scores import score_source
from medimageinsight.export.encoder_runs import BATCH, Encoders, run_encoders
from medimageinsight.export.pytorch_encoders import PyTorchEncoders, limit_torch_threads
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import Table
    from medimageinsight.network.model import UniCLModel


def measure_accuracy(
    bundle: Bundle,
    table: Table,
    *,
    original: UniCLModel | None = None,
    split: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Time a bundle and score it zero-shot on the images of a table, each source as a test set.

    Labels are scored as `evaluate` scores findings. In a source without findings every label counts as a finding.
    Memory grows with the embeddings only, not with the images.

    Args:
        bundle: The bundle, run as its users run it.
        table: All splits of a table, whose captions are the prompts.
        original: The bundle's checkpoint, see `load_original`; both read texts with the bundle's tokenizer.
        split: The split to score; by default all images.
        providers: As in `Engine`.
        threads: CPU threads of both runtimes; by default all cores that the process may use.
        progress: Called with the number of images that are done.

    Raises:
        DatasetError: The split does not exist, no source has two labels (``dataset_labels_missing``), or images
            cannot be read (``dataset_broken_images``, which names them all).
        BundleError: A file of the bundle has changed.
    """
    table = _use_labels_as_findings(table)
    settings = EvaluationSettings(split=split)
    samples = scored_samples(table, settings)
    _check_labels(table, settings)
    prompts = caption_prompts(table)
    with _open_encoders(bundle, original, providers, threads) as (embedder, encoders):
        tokens = embedder.tokenizer.encode(prompts)
        texts = [encoder.embed_tokens(tokens) for encoder in encoders]
        runs = run_encoders([sample.path for sample in samples], embedder, encoders, progress)
    logit_scales = [bundle.manifest.logit_scale, *([] if original is None else [original.logit_scale.item()])]
    data = [
        prepare_data(table, run.embeddings, prompts, text, logit_scale, settings=settings)
        for run, text, logit_scale in zip(runs, texts, logit_scales, strict=True)
    ]
    return Accuracy(
        model=bundle.manifest.name,
        split=split,
        confidence=settings.confidence,
        sets=tuple(score_source(name, data, runs) for name in dict.fromkeys(sample.source for sample in samples)),
        measured_with=_describe_conditions(bundle, embedder, providers, threads, with_torch=original is not None),
    )


@contextlib.contextmanager
def _open_encoders(
    bundle: Bundle, original: UniCLModel | None, providers: Sequence[str] | None, threads: int | None
) -> Iterator[tuple[Embedder, list[Encoders]]]:
    """Open the bundle's encoders and, after them, the checkpoint's if it is given."""
    with Engine(bundle, providers=providers, threads=threads) as engine, contextlib.ExitStack() as stack:
        encoders: list[Encoders] = [engine]
        if original is not None:
            stack.enter_context(limit_torch_threads(threads or available_cpus()))
            encoders.append(PyTorchEncoders(original))
        yield Embedder(bundle, engine), encoders


def _use_labels_as_findings(table: Table) -> Table:
    """Make each label its own finding in sources without findings: their labels are classes."""
    with_findings = {sample.source for sample in table if sample.finding}
    samples = (sample if sample.source in with_findings else replace(sample, finding=sample.label) for sample in table)
    return replace(table, samples=tuple(samples))


def _check_labels(table: Table, settings: EvaluationSettings) -> None:
    """Reject a table that gives no figures before its images are embedded."""
    known = {(sample.source, sample.label) for sample in table if sample.label and sample.finding}
    scored = known & {(sample.source, sample.label) for sample in scored_samples(table, settings)}
    count = max(Counter(source for source, _ in scored).values(), default=0)
    if count < 2:
        raise DatasetError(
            f"expected images of at least two labels in one source, got {count}: "
            "give the table a column 'label', or choose another split",
            code="dataset_labels_missing",
        )


def _describe_conditions(
    bundle: Bundle, embedder: Embedder, providers: Sequence[str] | None, threads: int | None, *, with_torch: bool
) -> dict[str, str | int]:
    """Return the conditions that the times depend on."""
    import onnxruntime as ort

    conditions: dict[str, str | int] = {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads or available_cpus(),
        "batch": BATCH,
        "provider": choose_providers(providers)[0].removesuffix("ExecutionProvider"),
        "precision": bundle.manifest.precision,
        "preprocessing": embedder.preprocessing.default,
        "medimageinsight-onnx": __version__,
        "onnxruntime": ort.__version__,
        "python": platform.python_version(),
    }
    if with_torch:
        import torch

        conditions |= {"torch": torch.__version__, "torch_device": "CPU", "torch_precision": "fp32"}
    return conditions
