"""The results of one run: all samples, and the statistics derived from them."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from medimageinsight.bench.timings import Peak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.bench.cases import Encoder
    from medimageinsight.bench.settings import BenchSettings
    from medimageinsight.bench.timings import Result

NOTES = (
    "eager, tuned, compile and plain have the bundle's architecture and random weights: speed does not depend on the "
    "values.",
    "A padded text needs the operations of its real tokens only.",
    "The floor is the time that the operations needed take at the speed of the best float32 matrix product of the same "
    "rounds.",
    "Each candidate runs in a process of its own, one at a time, in turn. A ratio is a candidate's time divided by the "
    "bundle's within each round, then the median: above 1 the bundle is faster.",
    "eager is PyTorch with its defaults; tuned and compile have an allocator that retains its memory, which is faster.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one candidate's process with one encoder, after all cases; None where the platform reports none."""

    candidate: str
    encoder: Encoder
    peak: int | None  # maximum resident bytes, mapped files included
    private: int | None  # shared with no other process, at the end; without mapped files

    def to_dict(self) -> dict[str, Any]:
        """Return the memory as JSON types."""
        return {"candidate": self.candidate, "side": self.encoder, "peak": self.peak, "private": self.private}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Seconds from the start of a fresh process, one entry each; the files are in the system's cache."""

    opened: tuple[float, ...]  # until the model is open, its encoders not loaded yet
    first_embedding: tuple[float, ...]  # checksum and loading of the image encoder included

    def to_dict(self) -> dict[str, Any]:
        """Return the samples and their medians."""
        return asdict(self) | {
            "opened_median": statistics.median(self.opened),
            "first_embedding_median": statistics.median(self.first_embedding),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Embedding image files, compared with the network alone in the same process."""

    images: int  # files that were embedded
    failed: int  # files that could not be read
    batch: int  # images that the network processes together
    seconds: tuple[float, ...]  # for all files, one entry a round
    network_seconds: tuple[float, ...]  # for one batch of prepared images, one entry a round

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
        """The files' rate divided by the network's, within each round, then the median."""
        pairs = zip(self.seconds, self.network_seconds, strict=True)
        return statistics.median(self.images / files / (self.batch / network) for files, network in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the samples and their statistics."""
        rates = {"per_second": self.per_second, "network_per_second": self.network_per_second}
        return asdict(self) | rates | {"fraction": self.fraction}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A baseline that was not measured, or not completely, and the reason."""

    candidate: str
    encoder: Encoder
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return the baseline as JSON types."""
        return {"candidate": self.candidate, "side": self.encoder, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All results of one run."""

    model: str
    precision: str  # of the bundle's weights; the baselines are float32
    command: str  # that repeats the run, or empty
    settings: BenchSettings
    machine: Mapping[str, str | int]  # processor, cores, threads, provider and versions
    results: tuple[Result, ...]  # one for each case, in the order measured
    memory: tuple[Memory, ...]  # one for each candidate and encoder
    cold_start: ColdStart
    files: Files | None
    skipped: tuple[Skipped, ...]

    @property
    def peak(self) -> Peak:
        """The machine's matrix product in the rounds of all cases."""
        peaks = [result.peak for result in self.results]
        samples = {name: tuple(chain.from_iterable(peak.samples[name] for peak in peaks)) for name in peaks[0].samples}
        return Peak(size=peaks[0].size, samples=samples)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON types."""
        return {
            "model": self.model,
            "precision": self.precision,
            "command": self.command,
            "settings": self.settings.to_dict(),
            "machine": dict(self.machine),
            "peak": self.peak.to_dict(),
            "results": [result.to_dict() for result in self.results],
            "memory": [memory.to_dict() for memory in self.memory],
            "cold_start": self.cold_start.to_dict(),
            "files": None if self.files is None else self.files.to_dict(),
            "skipped": [skipped.to_dict() for skipped in self.skipped],
            "notes": NOTES,
        }
