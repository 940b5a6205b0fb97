"""The run itself: who is measured, in which order, and what is made of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.bench.candidate import Candidate, unavailable
from medimageinsight.bench.figures import (
    BUNDLE,
    Bench,
    Case,
    ColdStart,
    Files,
    Memory,
    Peak,
    Result,
    Side,
    Skipped,
    timings_of,
)
from medimageinsight.bench.matmul import SIZE
from medimageinsight.bench.runners import Opening
from medimageinsight.bench.settings import BenchSettings
from medimageinsight.engine import available_cpus, choose_providers
from medimageinsight.engine.machine import describe_machine
from medimageinsight.errors import InputError, ModelError
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.flops import image_flops, text_flops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.bundle import Bundle

Progress: TypeAlias = Callable[[str, float], None]
"""Called with what is being measured and the part of the whole that is done."""

SIDES: tuple[Side, ...] = ("image", "text")
PROMPT_TOKENS = 12  # of a usual prompt, both ends counted
FILES_BATCH = 8
PAUSE_S = 0.1  # between turns: thread pools go on spinning for some milliseconds, on cores that the next one needs
CPU = "CPUExecutionProvider"


def run(
    bundle: Bundle,
    settings: BenchSettings = BenchSettings(),  # noqa: B008 - frozen
    *,
    images: Sequence[str] = (),
    command: str = "",
    progress: Progress | None = None,
) -> Bench:
    """Measure a bundle beside the machine's matrix product and the baselines.

    Each candidate has a process of its own, and in each round each has its turn, one at a time. The first round does
    not count. Only one encoder is loaded at a time.

    Args:
        bundle: The opened bundle.
        settings: What to measure and how often.
        images: Paths of image files, to measure from files to vectors too.
        command: What repeats the run, for the report.
        progress: Told what is being measured.

    Raises:
        InputError: The provider is unknown, or none of the images can be read (``images_unusable``).
        ConfigError: The bundle's architecture is not one of this network's.
        ModelError: The bundle cannot be loaded or run, or a process ended while it was measured
            (``bench_worker_died``). A baseline that fails before the first round that counts is left out instead.
    """
    manifest = bundle.manifest
    config = ModelConfig.from_dict(manifest.architecture)
    opening = Opening(
        candidate=BUNDLE,
        bundle=str(bundle.folder.absolute()),
        side="image",
        architecture=manifest.architecture,
        threads=settings.threads or available_cpus(),
        providers=choose_providers(settings.providers),
        images=tuple(images),
    )
    steps = _Steps(progress, _count_steps(settings, config, files=bool(images)))
    cold_start = _measure_cold_start(opening, settings.rounds, steps)
    files = _measure_files(opening, settings.rounds, steps) if images else None
    measured: list[_Measured] = []
    memory: list[Memory] = []
    skipped: list[Skipped] = []
    with Candidate(replace(opening, candidate="matmul", images=())) as matmul:
        matmul.open()
        for side in SIDES:
            race = _Race(replace(opening, side=side, images=()), settings, matmul, steps)
            measured += race.run(cases_of(side, settings, config))
            memory += race.memory
            skipped += race.skipped
    return Bench(
        model=manifest.name,
        precision=manifest.precision,
        command=command,
        settings=settings,
        machine=describe_machine(opening.threads, opening.providers[0]),
        results=tuple(_result(one, config) for one in measured),
        memory=tuple(memory),
        cold_start=cold_start,
        files=files,
        skipped=tuple(skipped),
    )


def cases_of(side: Side, settings: BenchSettings, config: ModelConfig) -> list[Case]:
    """Images in batches; a text of a usual prompt's length alone, and padded to the whole context."""
    if side == "image":
        return [Case(side="image", batch=batch) for batch in settings.batch_sizes]
    context = config.text.context_length
    tokens = min(PROMPT_TOKENS, context)
    return [Case(side="text", tokens=tokens, length=length) for length in sorted({tokens, context})]


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Samples of one case as they came: seconds by candidate and by who made the matrix product."""

    case: Case
    samples: dict[str, list[float]]
    peak: dict[str, list[float]]


class _Steps:
    """Tells the progress in even steps, one a turn."""

    def __init__(self, tell: Progress | None, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def next(self, stage: str) -> None:
        if self._tell is not None:
            self._tell(stage, min(1.0, self._done / self._total))
        self._done += 1


@dataclass
class _Race:
    """All candidates of one encoder, from opening them to their memory at the end."""

    opening: Opening
    settings: BenchSettings
    matmul: Candidate
    steps: _Steps
    running: dict[str, Candidate] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def run(self, cases: list[Case]) -> list[_Measured]:
        with tempfile.TemporaryDirectory(prefix="mi2-bench-") as scratch, ExitStack() as stack:
            for name in (BUNDLE, *self.settings.baselines):
                self._enter(name, Path(scratch), stack)
            measured = [self._measure(case) for case in cases]
            for name, candidate in self.running.items():
                self.memory.append(Memory(candidate=name, side=self.opening.side, **candidate.memory()))
        return measured

    def _enter(self, name: str, scratch: Path, stack: ExitStack) -> None:
        """Open a candidate, or note why it takes no part."""
        self.steps.next(f"opening {name}, {self.opening.side}")
        reason = None if name == BUNDLE else unavailable(name, self.opening.providers[0])
        if reason is not None:
            self._skip(name, reason)
            return
        opening = replace(self.opening, candidate=name)
        try:
            if name == "plain":
                opening = replace(opening, graph=str(scratch / "graph.onnx"))
                with Candidate(replace(opening, candidate="export")) as exporter:
                    exporter.open()
            candidate = stack.enter_context(Candidate(opening))
            self.running[name] = candidate
            candidate.open()
        except ModelError as error:
            self._drop(name, error)

    def _measure(self, case: Case) -> _Measured:
        plain = asdict(case)
        label = f"{case.side} {case.label}"
        for name, candidate in list(self.running.items()):
            self.steps.next(f"warming up {name}, {label}")
            try:
                candidate.time(plain)
            except ModelError as error:
                self._drop(name, error)
        products = ["onnxruntime", *(["numpy"] if self.opening.providers[0] == CPU else [])]
        for by in products:
            self.matmul.time({"by": by})
        measured = _Measured(
            case=case, samples={name: [] for name in self.running}, peak={name: [] for name in products}
        )
        turns = [(one, plain, measured.samples[name]) for name, one in self.running.items()]
        turns += [(self.matmul, {"by": by}, measured.peak[by]) for by in products]
        for number in range(self.settings.rounds):
            # Backwards every other time, so that a machine that grows slower or faster favours no one.
            for candidate, request, samples in turns[:: -1 if number % 2 else 1]:
                self.steps.next(f"{label}, round {number + 1}")
                samples.append(_turn(candidate, request)["seconds"])
        return measured

    def _drop(self, name: str, error: ModelError) -> None:
        """A baseline that fails is left out; without the bundle there is nothing to measure."""
        if name == BUNDLE:
            raise error
        if (candidate := self.running.pop(name, None)) is not None:
            candidate.close()
        self._skip(name, error.message)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(candidate=name, side=self.opening.side, reason=reason))


def _turn(candidate: Candidate, request: dict[str, Any]) -> dict[str, Any]:
    time.sleep(PAUSE_S)
    return candidate.time(request)


def _measure_cold_start(opening: Opening, rounds: int, steps: _Steps) -> ColdStart:
    """A process a round; the first one, which may read from the disk, does not count."""
    opened, embedded = [], []
    for _ in range(rounds + 1):
        steps.next("cold start")
        start = time.perf_counter()
        with Candidate(replace(opening, candidate="cold", images=())) as fresh:
            fresh.open()
            opened.append(time.perf_counter() - start)
            fresh.first({})
            embedded.append(time.perf_counter() - start)
    return ColdStart(opened=tuple(opened[1:]), first_embedding=tuple(embedded[1:]))


def _measure_files(opening: Opening, rounds: int, steps: _Steps) -> Files:
    """Files to vectors and the network alone, in turn."""
    every = len(opening.images)
    through = {"files": every, "batch": FILES_BATCH}
    seconds, network_seconds = [], []
    with Candidate(replace(opening, candidate="files")) as candidate:
        steps.next("opening the files")
        candidate.open()
        candidate.time({"batch": FILES_BATCH})
        images = candidate.first(through)["rows"]
        if not images:
            raise InputError("expected image files, none of them can be read: see mi2 embed", code="images_unusable")
        for number in range(rounds):
            steps.next(f"files, round {number + 1}")
            seconds.append(_turn(candidate, through)["seconds"])
            network_seconds.append(_turn(candidate, {"batch": FILES_BATCH})["seconds"])
    return Files(
        images=images,
        failed=every - images,
        batch=FILES_BATCH,
        seconds=tuple(seconds),
        network_seconds=tuple(network_seconds),
    )


def _count_steps(settings: BenchSettings, config: ModelConfig, *, files: bool) -> int:
    candidates = 1 + len(settings.baselines)
    cases = sum(len(cases_of(side, settings, config)) for side in SIDES)
    turns = candidates + settings.rounds * (candidates + 2)  # two make the matrix product
    return len(SIDES) * candidates + cases * turns + (1 + files) * (settings.rounds + 1)


def _result(measured: _Measured, config: ModelConfig) -> Result:
    case = measured.case
    flops = case.batch * (image_flops(config) if case.side == "image" else text_flops(config, case.tokens))
    peak = Peak(size=SIZE, samples={by: tuple(samples) for by, samples in measured.peak.items()})
    timings = timings_of(measured.samples, flops / peak.flops_per_second)
    return Result(case=case, flops=flops, peak=peak, timings=timings)
