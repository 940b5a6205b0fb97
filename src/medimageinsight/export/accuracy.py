"""Zero-shot accuracy and speed of a bundle on labelled images, alone or compared with its checkpoint in PyTorch.

The captions of a label are its prompts. Both runtimes get the same pixels, decoded and preprocessed before the time is
taken, one image per call and in turn, so that other load on the machine affects both.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.datasets import broken_images
from medimageinsight.embedder import Embedder, prefetch_map
from medimageinsight.engine import Engine, available_cpus, choose_providers
from medimageinsight.engine.machine import processor
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.evaluate.evaluation_data import prepare_data, scored_samples
from medimageinsight.evaluate.prompt_set import choose_prompts
from medimageinsight.evaluate.results import EvaluationSettings
from medimageinsight.export.accuracy_results import Accuracy, score_source
from medimageinsight.export.pytorch_encoders import PyTorchEncoders, limit_torch_threads
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import Table
    from medimageinsight.metrics.scores import Floats
    from medimageinsight.network.model import UniCLModel

    Embeddings = NDArray[np.float32]

PREPARED = 8  # images prepared together while no time is measured; 22 MB at 480 x 480 pixels


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

    Args:
        bundle: It is run as its users run it.
        table: All splits of a table; the prompts are those of `choose_prompts`.
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
    settings = EvaluationSettings(split=split)
    table = _use_labels_as_findings(table, settings)
    samples = scored_samples(table, settings)
    prompts = choose_prompts(table, settings.split)
    logit_scales = [bundle.manifest.logit_scale]
    with Engine(bundle, providers=providers, threads=threads) as engine, contextlib.ExitStack() as stack:
        embedder = Embedder(bundle, engine)
        encoders: list[Engine | PyTorchEncoders] = [engine]
        if original is not None:
            stack.enter_context(limit_torch_threads(threads or available_cpus()))
            encoders.append(PyTorchEncoders(original))
            logit_scales.append(original.logit_scale.item())
        tokens = embedder.tokenizer.encode(prompts.texts)
        texts = [encoder.embed_tokens(tokens) for encoder in encoders]
        embeddings, milliseconds = _embed_in_turn([sample.path for sample in samples], embedder, encoders, progress)
    data = [
        prepare_data(table, image, prompts, text, logit_scale, settings=settings)
        for image, text, logit_scale in zip(embeddings, texts, logit_scales, strict=True)
    ]
    sources = dict.fromkeys(sample.source for sample in samples)
    return Accuracy(
        model=bundle.manifest.name,
        split=split,
        confidence=settings.confidence,
        sets=tuple(score_source(name, data, milliseconds) for name in sources),
        measured_with=_describe_conditions(bundle, embedder, providers, threads, with_torch=original is not None),
    )


def _use_labels_as_findings(table: Table, settings: EvaluationSettings) -> Table:
    """Make each label its own finding in sources without findings; reject a table that gives no figures."""
    with_findings = {sample.source for sample in table if sample.finding}
    samples = (sample if sample.source in with_findings else replace(sample, finding=sample.label) for sample in table)
    table = replace(table, samples=tuple(samples))
    known = {(sample.source, sample.label) for sample in table if sample.label and sample.finding}
    scored = known & {(sample.source, sample.label) for sample in scored_samples(table, settings)}
    count = max(Counter(source for source, _ in scored).values(), default=0)
    if count < 2:
        raise DatasetError(
            f"expected images of at least two labels in one source, got {count}: "
            "give the table a column 'label', or choose another split",
            code="dataset_labels_missing",
        )
    return table


def _embed_in_turn(
    paths: Sequence[Path],
    embedder: Embedder,
    encoders: Sequence[Engine | PyTorchEncoders],
    progress: Callable[[int], None] | None,
) -> tuple[list[Embeddings], list[Floats]]:
    """Embed every image with every encoder; returns for each encoder the embeddings (N, D) and the milliseconds (N,).

    A few images are prepared at a time, so that memory grows with the embeddings only. After the first broken image
    the remaining ones are only prepared, so that the error comes soon and names them all.
    """

    def prepare(path: Path) -> Embeddings | InputError:
        try:
            return embedder.prepare_image(path)
        except InputError as error:
            return error

    errors: dict[Path, InputError] = {}
    embeddings: list[list[Embeddings]] = [[] for _ in encoders]
    times: list[list[float]] = [[] for _ in encoders]
    remaining, done = iter(paths), 0
    while chunk := list(islice(remaining, PREPARED)):
        prepared = list(prefetch_map(prepare, chunk, ahead=PREPARED))
        errors |= {path: result for path, result in zip(chunk, prepared, strict=True) if isinstance(result, InputError)}
        images = [] if errors else [image[np.newaxis] for image in prepared if not isinstance(image, InputError)]
        for pixels in images:
            for encoder, vectors, milliseconds in zip(encoders, embeddings, times, strict=True):
                if not done:
                    encoder.embed_pixels(pixels)  # the first call loads the graph and reserves memory
                start = time.perf_counter()
                vector = encoder.embed_pixels(pixels)
                milliseconds.append(1000 * (time.perf_counter() - start))
                vectors.append(vector)
            done += 1
            if progress is not None:
                progress(done)
    if errors:
        raise broken_images(errors)
    return [np.concatenate(vectors) for vectors in embeddings], [np.array(milliseconds) for milliseconds in times]


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
        "batch": 1,
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
