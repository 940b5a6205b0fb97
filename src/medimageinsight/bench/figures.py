"""What a measurement found: all samples, and what is read from them."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.bench.settings import BenchSettings

Side = Literal["image", "text"]
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one call is given: ``Case(side="image", batch=8)``, ``Case(side="text", tokens=12, length=77)``.

    Attributes:
        side: The encoder.
        batch: Images or texts of the call.
        tokens: Of each text, both ends counted; 0 for images.
        length: What each text is padded to; 0 for images.
    """

    side: Side
    batch: int = 1
    tokens: int = 0
    length: int = 0

    @property
    def label(self) -> str:
        """For a table's cell."""
        if self.side == "image":
            return str(self.batch)
        return f"{self.tokens} tokens" if self.tokens == self.length else f"{self.tokens} padded to {self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One candidate in one case.

    Attributes:
        candidate: Its name.
        samples: Seconds a call, one for each round.
        ratio: Its time to the bundle's, within each round, then the median; above 1 the bundle is faster.
        times_floor: Its median to the time of the operations needed at the peak of the same rounds.
    """

    candidate: str
    samples: tuple[float, ...]
    ratio: float
    times_floor: float

    @property
    def median(self) -> float:
        """Seconds a call."""
        return statistics.median(self.samples)

    @property
    def min(self) -> float:
        """Seconds of the fastest round."""
        return min(self.samples)

    def to_dict(self) -> dict[str, Any]:
        """With what is read from the samples."""
        return asdict(self) | {"median": self.median, "min": self.min, "peak_fraction": 1 / self.times_floor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The machine's float32 matrix product, measured between the candidates.

    Attributes:
        size: Side of the square matrices.
        samples: Seconds a product, by who made it, one for each round.
    """

    size: int
    samples: Mapping[str, tuple[float, ...]]

    @property
    def flops(self) -> int:
        """Of one product."""
        return 2 * self.size**3

    @property
    def best(self) -> str:
        """Who made it fastest, by the median."""
        return min(self.samples, key=lambda name: statistics.median(self.samples[name]))

    @property
    def flops_per_second(self) -> float:
        """The fastest one's median."""
        return self.flops / statistics.median(self.samples[self.best])

    @property
    def spread(self) -> float:
        """The slowest product's time to the fastest's, by who is best: far above 1 where others use the machine."""
        return max(self.samples[self.best]) / min(self.samples[self.best])

    def to_dict(self) -> dict[str, Any]:
        """With what is read from the samples."""
        read = {"best": self.best, "flops_per_second": self.flops_per_second, "spread": self.spread}
        return asdict(self) | read


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All candidates in one case.

    Attributes:
        case: What a call was given.
        flops: Operations a call needs, a multiply-add counting as two.
        peak: The machine's matrix product in the same rounds.
        timings: The bundle first.
    """

    case: Case
    flops: int
    peak: Peak
    timings: tuple[Timing, ...]

    def to_dict(self) -> dict[str, Any]:
        """With each candidate's rate: images or texts a second."""
        timings = [one.to_dict() | {"per_second": self.case.batch / one.median} for one in self.timings]
        return {"case": asdict(self.case), "flops": self.flops, "peak": self.peak.to_dict(), "timings": timings}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one candidate's process with one encoder, after all cases; None where the platform does not tell.

    Attributes:
        candidate: Its name.
        side: The encoder that was loaded.
        peak: Resident at most, mapped files counted.
        private: Its own and no one else's at the end; what it maps from a file is not counted.
    """

    candidate: str
    side: Side
    peak: int | None
    private: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Fresh processes, the files in the system's cache. Seconds from the start of the process, one entry each.

    Attributes:
        opened: Until the model is open, its encoders not loaded yet.
        first_embedding: Until the first image is embedded: checksum and loading of the image encoder included.
    """

    opened: tuple[float, ...]
    first_embedding: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """With the medians."""
        return asdict(self) | {
            "opened_median": statistics.median(self.opened),
            "first_embedding_median": statistics.median(self.first_embedding),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """From image files to vectors, beside the network alone in the same process.

    Attributes:
        images: Files that were embedded.
        failed: Files that could not be.
        batch: Images that go through the network together, on both sides.
        seconds: For all files, one entry a round.
        network_seconds: For one batch of prepared images, one entry a round.
    """

    images: int
    failed: int
    batch: int
    seconds: tuple[float, ...]
    network_seconds: tuple[float, ...]

    @property
    def per_second(self) -> float:
        """Images embedded a second."""
        return self.images / statistics.median(self.seconds)

    @property
    def network_per_second(self) -> float:
        """Images a second of the network alone."""
        return self.batch / statistics.median(self.network_seconds)

    @property
    def fraction(self) -> float:
        """The files' rate to the network's, within each round, then the median."""
        pairs = zip(self.seconds, self.network_seconds, strict=True)
        return statistics.median(self.images / files / (self.batch / network) for files, network in pairs)

    def to_dict(self) -> dict[str, Any]:
        """With what is read from the samples."""
        rates = {"per_second": self.per_second, "network_per_second": self.network_per_second}
        return asdict(self) | rates | {"fraction": self.fraction}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A baseline that was not measured, or not to the end, and why."""

    candidate: str
    side: Side
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that one run measured.

    Attributes:
        model: Name of the model.
        precision: Of the bundle's weights; the baselines are float32.
        command: What repeats the run, empty when there is none.
        settings: How it was measured.
        machine: Processor, cores, threads, provider and versions.
        results: One a case, in the order measured.
        memory: One a candidate and encoder.
        cold_start: The bundle's.
        files: None when no files were given.
        skipped: Baselines without figures.
    """

    model: str
    precision: str
    command: str
    settings: BenchSettings
    machine: Mapping[str, str | int]
    results: tuple[Result, ...]
    memory: tuple[Memory, ...]
    cold_start: ColdStart
    files: Files | None
    skipped: tuple[Skipped, ...]

    @property
    def peak(self) -> Peak:
        """The machine's matrix product in the rounds of all cases."""
        peaks = [one.peak for one in self.results]
        samples = {by: tuple(chain.from_iterable(one.samples[by] for one in peaks)) for by in peaks[0].samples}
        return Peak(size=peaks[0].size, samples=samples)

    def of_side(self, side: Side) -> list[Result]:
        """The results of one encoder."""
        return [one for one in self.results if one.case.side == side]

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON types."""
        return {
            "model": self.model,
            "precision": self.precision,
            "command": self.command,
            "settings": self.settings.to_dict(),
            "machine": dict(self.machine),
            "peak": self.peak.to_dict(),
            "results": [one.to_dict() for one in self.results],
            "memory": [asdict(one) for one in self.memory],
            "cold_start": self.cold_start.to_dict(),
            "files": None if self.files is None else self.files.to_dict(),
            "skipped": [asdict(one) for one in self.skipped],
            "notes": NOTES,
        }


def timings_of(samples: Mapping[str, Sequence[float]], floor: float) -> tuple[Timing, ...]:
    """Samples of one case, as many a candidate as there are rounds, with what only all of them together can tell.

    Args:
        samples: Seconds by candidate, the bundle among them.
        floor: Seconds that the operations of a call need at the machine's peak.
    """
    return tuple(
        Timing(
            candidate=name,
            samples=tuple(own),
            ratio=_median_ratio(own, samples[BUNDLE]),
            times_floor=statistics.median(own) / floor,
        )
        for name, own in samples.items()
    )


def _median_ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(upper, lower, strict=True))


NOTES = (
    "eager, tuned, compile and plain have the bundle's architecture and random weights: speed does not depend on the "
    "values.",
    "A padded text needs the operations of its real tokens only.",
    "The floor is the time that the operations needed take at the speed of the best float32 matrix product of the same "
    "rounds.",
    "Each candidate runs in a process of its own, one at a time, in turn. A ratio is a candidate's time to the "
    "bundle's within each round, then the median: above 1 the bundle is faster.",
    "eager is PyTorch as it comes; tuned and compile have an allocator that keeps its memory, which is faster.",
)
