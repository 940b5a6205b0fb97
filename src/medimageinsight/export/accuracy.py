"""A bundle on labelled pictures: how right it is and how long it takes, alone or beside its checkpoint in PyTorch.

Zero-shot: the captions of a label are its prompts. Both sides get the same pixels, which are decoded and prepared
before the clock starts, one picture a call and the two sides in turn, so that a busy machine is busy for both.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medimageinsight.datasets.table import Table, broken_images
from medimageinsight.embedder import Embedder, map_ahead
from medimageinsight.engine import Engine, available_cpus, choose_providers
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.evaluate.figures import EvaluationSettings
from medimageinsight.evaluate.scoring import score_findings
from medimageinsight.evaluate.trial import prepare, scored_samples
from medimageinsight.evaluate.zeroshot import caption_prompts, ensemble
from medimageinsight.export.accuracy_figures import Accuracy, PairFigures, SetFigures, SideFigures
from medimageinsight.metrics.bootstrap import figure
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle
    from medimageinsight.evaluate.scoring import ScoredFindings
    from medimageinsight.evaluate.trial import Trial
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Integers
    from medimageinsight.network.model import UniCLModel

    Pixels = NDArray[np.float32]
    Embeddings = NDArray[np.float32]

BATCH = 1  # pictures a call
_AHEAD = 8  # pictures prepared together while no clock runs; of 480 x 480 pixels they are 22 MB


class Encoders(Protocol):
    """What is measured; ``Engine`` is one."""

    def embed_pixels(self, pixels: Pixels, /) -> Embeddings:
        """(N, 3, H, W) float32 to (N, D) float32, L2-normalised."""

    def embed_tokens(self, rows: Sequence[Sequence[int]], /) -> Embeddings:
        """Rows of token ids to (N, D) float32, L2-normalised."""


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
    """Time a bundle and score it zero-shot on the pictures of a table, each source as a test set of its own.

    Labels are scored as `evaluate` scores findings. In a source without any finding every label counts as one.
    Memory does not grow with the pictures but for their embeddings.

    Args:
        bundle: The bundle, run as its users run it.
        table: All splits of a table, whose captions are the prompts.
        original: The bundle's checkpoint, see `load_original`, which is run in turn with the bundle. Both sides read
            texts with the bundle's tokenizer.
        split: The split to score; all pictures when not given.
        providers: As `Engine` takes them.
        threads: CPU threads of both sides; all cores the process may use when not given.
        progress: Called with the number of pictures that are done.

    Raises:
        DatasetError: No such split, no source with two labels to tell apart (``dataset_labels_missing``), or pictures
            that cannot be read (``dataset_broken_images``, which names them all).
        BundleError: A file of the bundle has changed.
    """
    table = _with_findings(table)
    settings = EvaluationSettings(split=split)
    samples = scored_samples(table, settings)
    _check_labels(table, settings)
    prompts = caption_prompts(table)
    with Engine(bundle, providers=providers, threads=threads) as engine, contextlib.ExitStack() as stack:
        sides: list[Encoders] = [engine]
        logit_scales = [bundle.manifest.logit_scale]
        if original is not None:
            stack.enter_context(_torch_threads(threads or available_cpus()))
            sides.append(_Original(original))
            logit_scales.append(original.logit_scale.item())
        embedder = Embedder(bundle, engine)
        tokens = embedder.tokenizer.encode(prompts)
        texts = [side.embed_tokens(tokens) for side in sides]
        runs = _run([sample.path for sample in samples], embedder, sides, progress)
    trials = [
        prepare(table, run.embeddings, prompts, text, logit_scale, settings=settings)
        for run, text, logit_scale in zip(runs, texts, logit_scales, strict=True)
    ]
    return Accuracy(
        model=bundle.manifest.name,
        split=split,
        confidence=settings.confidence,
        sets=tuple(_score(name, trials, runs) for name in dict.fromkeys(sample.source for sample in samples)),
        measured_with=_describe(bundle, embedder, providers, threads, with_torch=original is not None),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """One side on all pictures, in order."""

    embeddings: Embeddings  # (N, D)
    milliseconds: NDArray[np.float64]  # (N,)


def _run(
    paths: Sequence[Path], embedder: Embedder, sides: Sequence[Encoders], progress: Callable[[int], None] | None
) -> list[_Run]:
    """Every picture through every side, a few prepared pictures at a time.

    After the first broken picture the others are only looked at, so that the error comes soon and names them all.
    """

    def prepare_one(path: Path) -> Pixels | InputError:
        try:
            return embedder.prepare_image(path)
        except InputError as error:
            return error

    problems: dict[Path, InputError] = {}
    embeddings: list[list[Embeddings]] = [[] for _ in sides]
    times: list[list[float]] = [[] for _ in sides]
    remaining, done, warm = iter(paths), 0, False
    while few := list(islice(remaining, _AHEAD)):
        prepared = list(map_ahead(prepare_one, few, ahead=_AHEAD))
        problems |= {path: one for path, one in zip(few, prepared, strict=True) if isinstance(one, InputError)}
        pixels = [] if problems else [one[np.newaxis] for one in prepared if not isinstance(one, InputError)]
        for one in pixels:
            for number, side in enumerate(sides):
                if not warm:
                    side.embed_pixels(one)  # the first call loads the graph and reserves memory
                start = time.perf_counter()
                embedding = side.embed_pixels(one)
                times[number].append(1000 * (time.perf_counter() - start))
                embeddings[number].append(embedding)
            warm = True
            done += 1
            if progress is not None:
                progress(done)
    if problems:
        raise broken_images(problems)
    return [_Run(np.concatenate(rows), np.array(own)) for rows, own in zip(embeddings, times, strict=True)]


def _score(name: str, trials: Sequence[Trial], runs: Sequence[_Run]) -> SetFigures:
    """One source; the first trial and run are the bundle's, the second the checkpoint's."""
    rows = trials[0].rows_of(name)
    columns = _label_columns(trials[0], name)
    findings = [score_findings(trial, name) for trial in trials]
    figures = [_side(run, rows, scored) for run, scored in zip(runs, findings, strict=True)]
    return SetFigures(
        name=name,
        images=len(rows),
        scored=int(np.isin(trials[0].labels[rows], columns).sum()),
        onnxruntime=figures[0],
        pytorch=figures[1] if len(figures) > 1 else None,
        agreement=_compare(trials, rows, columns, findings) if len(trials) > 1 else None,
    )


def _side(run: _Run, rows: Integers, scored: ScoredFindings | None) -> SideFigures:
    return SideFigures(
        milliseconds=float(np.median(run.milliseconds[rows])),
        mean_auc=None if scored is None else scored.figures.mean_auc,
        accuracy=None if scored is None else scored.figures.accuracy,
    )


def _compare(
    trials: Sequence[Trial], rows: Integers, columns: Integers, findings: Sequence[ScoredFindings | None]
) -> PairFigures:
    bundle, original = (trial.images[rows].astype(np.float64) for trial in trials)
    best = [_best_labels(trial, rows, columns) for trial in trials] if len(columns) > 1 else []
    return PairFigures(
        mean_auc_difference=_difference(*findings, confidence=trials[0].settings.confidence),
        same_best_label=float(np.mean(best[0] == best[1])) if best else None,
        max_abs_diff=float(np.abs(bundle - original).max()),
        min_cosine=float((bundle * original).sum(axis=1).min()),
    )


def _difference(bundle: ScoredFindings | None, original: ScoredFindings | None, *, confidence: float) -> Figure | None:
    """Both trials draw the same resamples, as they have the same pictures and seed."""
    if bundle is None or original is None:
        return None
    value = bundle.figures.mean_auc.value - original.figures.mean_auc.value
    resampled = bundle.resampled - original.resampled
    return figure(value, resampled, count=bundle.figures.mean_auc.count, confidence=confidence)


def _best_labels(trial: Trial, rows: Integers, columns: Integers) -> Integers:
    """(rows,) the place among the (L,) label columns of the label each picture is nearest to."""
    classes = ensemble(trial.prompts, trial.prompt_labels[:, columns])  # (L, D)
    best: Integers = (trial.images[rows].astype(np.float64) @ classes.T).argmax(axis=1)
    return best


def _label_columns(trial: Trial, source: str) -> Integers:
    """The labels of a source that are told apart."""
    return np.array([label for label in trial.finding_labels if trial.label_names[label][0] == source], dtype=np.int64)


def _with_findings(table: Table) -> Table:
    """The table with each label as its own finding in sources where nothing has one: there the labels are classes."""
    read = {sample.source for sample in table if sample.finding}
    samples = tuple(sample if sample.source in read else replace(sample, finding=sample.label) for sample in table)
    return replace(table, samples=samples)


def _check_labels(table: Table, settings: EvaluationSettings) -> None:
    """Before an hour is spent on pictures that nothing can be said of."""
    known = {(sample.source, sample.label) for sample in table if sample.label and sample.finding}
    scored = known & {(sample.source, sample.label) for sample in scored_samples(table, settings)}
    if max(Counter(source for source, _ in scored).values(), default=0) < 2:
        raise DatasetError(
            "expected pictures of at least two labels in one source, got fewer: "
            "give the table a column 'label', or choose another split",
            code="dataset_labels_missing",
        )


class _Original:
    """The checkpoint in PyTorch, with the engine's two methods."""

    def __init__(self, model: UniCLModel) -> None:
        self._model = model

    def embed_pixels(self, pixels: Pixels, /) -> Embeddings:
        import torch

        with torch.inference_mode():
            embeddings: Embeddings = self._model.encode_image(torch.from_numpy(pixels)).numpy()
        return embeddings

    def embed_tokens(self, rows: Sequence[Sequence[int]], /) -> Embeddings:
        """Each text alone, so that none is padded."""
        import torch

        with torch.inference_mode():
            ids = [torch.tensor([list(row)]) for row in rows]
            return torch.cat([self._model.encode_text(row, torch.ones_like(row)) for row in ids]).numpy()


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """PyTorch with as many threads as ONNX Runtime; its number is the process's, so it is put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _describe(
    bundle: Bundle,
    embedder: Embedder,
    providers: Sequence[str] | None,
    threads: int | None,
    *,
    with_torch: bool,
) -> dict[str, str | int]:
    """What the times depend on."""
    import onnxruntime as ort

    described: dict[str, str | int] = {
        "processor": _processor(),
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

        described |= {"torch": torch.__version__, "torch_device": "CPU", "torch_precision": "fp32"}
    return described


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, as Linux tells it, or what Python knows elsewhere."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
