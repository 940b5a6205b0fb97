"""Times of the candidates in one case, compared with the bundle's and with the machine's peak."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.bench.settings import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.bench.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One candidate in one case."""

    candidate: str
    samples: tuple[float, ...]  # seconds of a call, one for each round
    ratio: float  # its time divided by the bundle's, within each round, then the median; above 1 the bundle is faster
    times_floor: float  # its median divided by the time of the operations needed at the peak of the same rounds

    @property
    def median(self) -> float:
        """Median seconds of a call."""
        return statistics.median(self.samples)

    @property
    def min(self) -> float:
        """Seconds of a call in the fastest round."""
        return min(self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Return the samples and their statistics."""
        return asdict(self) | {"median": self.median, "min": self.min, "peak_fraction": 1 / self.times_floor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The machine's float32 matrix product, measured in the same rounds as the candidates."""

    size: int  # side of the square matrices
    samples: Mapping[str, tuple[float, ...]]  # seconds of a product by library, one for each round

    @property
    def best(self) -> str:
        """The library with the lowest median."""
        return min(self.samples, key=lambda name: statistics.median(self.samples[name]))

    @property
    def flops_per_second(self) -> float:
        """Operations a second at the best library's median."""
        return 2 * self.size**3 / statistics.median(self.samples[self.best])

    @property
    def spread(self) -> float:
        """The best library's slowest time divided by its fastest: far above 1 if others use the machine."""
        return max(self.samples[self.best]) / min(self.samples[self.best])

    def to_dict(self) -> dict[str, Any]:
        """Return the samples and their statistics."""
        derived = {"best": self.best, "flops_per_second": self.flops_per_second, "spread": self.spread}
        return asdict(self) | derived


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All candidates in one case."""

    case: Case
    flops: int  # operations that a call needs; a multiply-add counts as two
    peak: Peak  # in the same rounds
    timings: tuple[Timing, ...]  # the bundle's first

    def to_dict(self) -> dict[str, Any]:
        """Return the timings, each with its images or texts a second."""
        timings = [timing.to_dict() | {"per_second": self.case.batch / timing.median} for timing in self.timings]
        return {"case": self.case.to_dict(), "flops": self.flops, "peak": self.peak.to_dict(), "timings": timings}


def compare_timings(samples: Mapping[str, Sequence[float]], floor: float) -> tuple[Timing, ...]:
    """Return the timings of one case, each compared with the bundle and with the floor.

    The `samples` are seconds by candidate, the bundle among them, as many for each as there are rounds. The `floor` is
    the seconds that the operations of a call need at the machine's peak.
    """
    return tuple(
        Timing(
            candidate=name,
            samples=tuple(seconds),
            ratio=statistics.median(a / b for a, b in zip(seconds, samples[BUNDLE], strict=True)),
            times_floor=statistics.median(seconds) / floor,
        )
        for name, seconds in samples.items()
    )
