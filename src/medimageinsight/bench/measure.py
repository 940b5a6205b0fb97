"""Measure a bundle, in rounds with the machine's matrix product and the baselines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.bench.candidate_process import Candidate, unavailable_reason
from medimageinsight.bench.cases import ENCODERS, Case, make_cases
from medimageinsight.bench.machine_peak import SIZE
from medimageinsight.bench.results import Bench, ColdStart, Files, Memory, Skipped
from medimageinsight.bench.runners import CandidateConfig
from medimageinsight.bench.settings import BUNDLE, BenchSettings
from medimageinsight.bench.timings import Peak, Result, compare_timings
from medimageinsight.engine import available_cpus, choose_providers
from medimageinsight.engine.machine import describe_machine
from medimageinsight.errors import InputError, ModelError
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.flops import image_flops, text_flops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.bundle import Bundle

Progress: TypeAlias = Callable[[str, float], None]
"""Called with what is being measured and the fraction of the run that is done."""

FILES_BATCH = 8
PAUSE_S = 0.1  # between calls: thread pools spin for some milliseconds, on cores that the next candidate needs
CPU = "CPUExecutionProvider"


def run(
    bundle: Bundle,
    settings: BenchSettings = BenchSettings(),  # noqa: B008 - frozen
    *,
    images: Sequence[str] = (),
    command: str = "",
    progress: Progress | None = None,
) -> Bench:
    """Measure a bundle, the machine's matrix product and the baselines.

    Each candidate has a process of its own and is timed once in each round, one at a time. The first round is a
    warm-up. Only one encoder is loaded at a time.

    The embedding of image files is measured too if `images` are given. The report contains `command`, which repeats the
    run. `progress` is called before each step.

    Raises:
        InputError: The provider is unknown, or none of the images can be read (``images_unusable``).
        ConfigError: The bundle's architecture is not of this network.
        ModelError: The bundle cannot be loaded or run, or a process ended while it was measured
            (``bench_worker_died``). A baseline that fails before the first round that counts is skipped instead.
    """
    model_config = ModelConfig.from_dict(bundle.manifest.architecture)
    config = _bundle_config(bundle, settings)
    steps = _Steps(progress, _count_steps(settings, model_config, files=bool(images)))
    cold_start = _measure_cold_start(config, settings.rounds, steps)
    files = _measure_files(replace(config, images=tuple(images)), settings.rounds, steps) if images else None
    runs = []
    with Candidate(replace(config, candidate="matmul")) as matmul:
        matmul.open()
        for encoder in ENCODERS:
            runs.append(_EncoderRun(replace(config, encoder=encoder), settings, matmul, steps))
            runs[-1].run(make_cases(encoder, settings, model_config))
    return Bench(
        model=bundle.manifest.name,
        precision=bundle.manifest.precision,
        command=command,
        settings=settings,
        machine=describe_machine(config.threads, config.providers[0]),
        results=tuple(_result(samples, model_config) for encoder_run in runs for samples in encoder_run.samples),
        memory=tuple(memory for encoder_run in runs for memory in encoder_run.memory),
        cold_start=cold_start,
        files=files,
        skipped=tuple(skipped for encoder_run in runs for skipped in encoder_run.skipped),
    )


@dataclass(frozen=True, kw_only=True)
class _CaseSamples:
    """Seconds of one case by candidate, and of the matrix product by library."""

    case: Case
    seconds: dict[str, list[float]]
    peak: dict[str, list[float]]


class _Steps:
    """Report the progress in equal steps."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def next(self, stage: str) -> None:
        if self._progress is not None:
            self._progress(stage, min(1.0, self._done / self._total))
        self._done += 1


@dataclass
class _EncoderRun:
    """The candidates of one encoder and their results."""

    config: CandidateConfig
    settings: BenchSettings
    matmul: Candidate
    steps: _Steps
    candidates: dict[str, Candidate] = field(default_factory=dict)
    samples: list[_CaseSamples] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def run(self, cases: list[Case]) -> None:
        with tempfile.TemporaryDirectory(prefix="mi2-bench-") as scratch, ExitStack() as stack:
            for name in (BUNDLE, *self.settings.baselines):
                self._open(name, Path(scratch), stack)
            self.samples += [self._measure(case) for case in cases]
            for name, candidate in self.candidates.items():
                self.memory.append(Memory(candidate=name, encoder=self.config.encoder, **candidate.memory()))

    def _open(self, name: str, scratch: Path, stack: ExitStack) -> None:
        """Open a candidate, or record why it is skipped."""
        self.steps.next(f"opening {name}, {self.config.encoder}")
        reason = None if name == BUNDLE else unavailable_reason(name, self.config.providers[0])
        if reason is not None:
            self._skip(name, reason)
            return
        config = replace(self.config, candidate=name)
        try:
            if name == "plain":
                config = replace(config, graph=str(scratch / "graph.onnx"))
                with Candidate(replace(config, candidate="export")) as exporter:
                    exporter.open()
            candidate = stack.enter_context(Candidate(config))
            self.candidates[name] = candidate
            candidate.open()
        except ModelError as error:
            self._remove(name, error)

    def _measure(self, case: Case) -> _CaseSamples:
        label = f"{case.encoder} {case.label}"
        for name, candidate in list(self.candidates.items()):
            self.steps.next(f"warming up {name}, {label}")
            try:
                candidate.time(case.to_dict())
            except ModelError as error:
                self._remove(name, error)
        libraries = ["onnxruntime", *(["numpy"] if self.config.providers[0] == CPU else [])]
        for library in libraries:
            self.matmul.time({"library": library})
        samples = _CaseSamples(
            case=case, seconds={name: [] for name in self.candidates}, peak={name: [] for name in libraries}
        )
        calls = [(candidate, case.to_dict(), samples.seconds[name]) for name, candidate in self.candidates.items()]
        calls += [(self.matmul, {"library": library}, samples.peak[library]) for library in libraries]
        for number in range(self.settings.rounds):
            # In reverse order every other time, so that a machine that slows down or speeds up favours no candidate.
            for candidate, request, seconds in calls[:: -1 if number % 2 else 1]:
                self.steps.next(f"{label}, round {number + 1}")
                seconds.append(_time(candidate, request))
        return samples

    def _remove(self, name: str, error: ModelError) -> None:
        """Skip a baseline that failed; if the bundle failed, raise its error."""
        if name == BUNDLE:
            raise error
        if (candidate := self.candidates.pop(name, None)) is not None:
            candidate.close()
        self._skip(name, error.message)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(candidate=name, encoder=self.config.encoder, reason=reason))


def _bundle_config(bundle: Bundle, settings: BenchSettings) -> CandidateConfig:
    return CandidateConfig(
        candidate=BUNDLE,
        bundle=str(bundle.folder.absolute()),
        encoder="image",
        architecture=bundle.manifest.architecture,
        threads=settings.threads or available_cpus(),
        providers=choose_providers(settings.providers),
    )


def _time(candidate: Candidate, request: dict[str, Any]) -> float:
    time.sleep(PAUSE_S)
    seconds: float = candidate.time(request)["seconds"]
    return seconds


def _measure_cold_start(config: CandidateConfig, rounds: int, steps: _Steps) -> ColdStart:
    """Start a process in each round; the first one, which may read from the disk, does not count."""
    opened, embedded = [], []
    for _ in range(rounds + 1):
        steps.next("cold start")
        start = time.perf_counter()
        with Candidate(replace(config, candidate="cold")) as fresh:
            fresh.open()
            opened.append(time.perf_counter() - start)
            fresh.time_once({})
            embedded.append(time.perf_counter() - start)
    return ColdStart(opened=tuple(opened[1:]), first_embedding=tuple(embedded[1:]))


def _measure_files(config: CandidateConfig, rounds: int, steps: _Steps) -> Files:
    """Embed the files and run the network alone, alternately."""
    count = len(config.images)
    files_case, network_case = {"files": count, "batch": FILES_BATCH}, {"batch": FILES_BATCH}
    seconds, network_seconds = [], []
    with Candidate(replace(config, candidate="files")) as candidate:
        steps.next("opening the files")
        candidate.open()
        candidate.time(network_case)
        images = candidate.time_once(files_case)["rows"]
        if not images:
            raise InputError(
                f"expected image files, got {count:,} that cannot be read: see mi2 embed", code="images_unusable"
            )
        for number in range(rounds):
            steps.next(f"files, round {number + 1}")
            seconds.append(_time(candidate, files_case))
            network_seconds.append(_time(candidate, network_case))
    return Files(
        images=images,
        failed=count - images,
        batch=FILES_BATCH,
        seconds=tuple(seconds),
        network_seconds=tuple(network_seconds),
    )


def _count_steps(settings: BenchSettings, config: ModelConfig, *, files: bool) -> int:
    candidates = 1 + len(settings.baselines)
    cases = sum(len(make_cases(encoder, settings, config)) for encoder in ENCODERS)
    calls = candidates + settings.rounds * (candidates + 2)  # two libraries make the matrix product
    return len(ENCODERS) * candidates + cases * calls + (1 + files) * (settings.rounds + 1)


def _result(samples: _CaseSamples, config: ModelConfig) -> Result:
    case = samples.case
    flops = case.batch * (image_flops(config) if case.encoder == "image" else text_flops(config, case.tokens))
    peak = Peak(size=SIZE, samples={library: tuple(seconds) for library, seconds in samples.peak.items()})
    timings = compare_timings(samples.seconds, flops / peak.flops_per_second)
    return Result(case=case, flops=flops, peak=peak, timings=timings)
