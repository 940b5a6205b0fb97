"""What runs the parts of a batch: an engine takes parts, and reports what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import MedImageInsightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from medimageinsight.api import MedImageInsight
    from medimageinsight.batch.plan import Part

MAX_DEATHS = 3  # of workers at the same part, which is then set aside


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How a worker opens the model; plain values, for JSON or pickle. Arguments of `MedImageInsight.load`."""

    model: str | None = None
    preprocessing: str | None = None
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    accept_maps: bool = False

    def load(self) -> MedImageInsight:
        """Open the model; its errors are those of `MedImageInsight.load`."""
        from medimageinsight.api import MedImageInsight
        from medimageinsight.images import Limits

        return MedImageInsight.load(
            self.model,
            preprocessing=self.preprocessing,  # type: ignore[arg-type]  # checked by load
            providers=self.providers,
            threads=self.threads,
            limits=Limits(accept_maps=self.accept_maps),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PartRunning:
    """A part of whose rows some are done."""

    part: Part
    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PartDone:
    """A part that is in the output; `rows` is 0 where another start has written it."""

    part: Part
    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """A part whose worker ended unexpectedly, for the `deaths`-th time; it is set aside at `MAX_DEATHS`."""

    part: Part
    deaths: int


PartEvent: TypeAlias = PartRunning | PartDone | WorkerDied


class Engine(ABC):
    """Runs parts, each in a worker that has the model loaded; a part may run more than once, and is written once."""

    @abstractmethod
    def run(self, parts: Iterable[Part], settings: ModelSettings, report: Callable[[PartEvent], None]) -> None:
        """Embed all parts; `report` is called from this thread.

        Raises:
            MedImageInsightError: An error that is not of a single image ended a worker.
        """


class WorkerFailedError(MedImageInsightError):
    """A worker that could not continue, with the code and message of its error."""


@dataclass(kw_only=True)
class BatchProgress:
    """Counts of a batch while it runs.

    Attributes:
        total: Rows of the output.
        earlier: Rows of parts that earlier starts wrote.
        done: Rows of this start, with those of unfinished parts.
        errors: Code of an error to the number of rows of this start with it.
        set_aside: Names of parts that ended their worker `MAX_DEATHS` times.
    """

    total: int
    earlier: int = 0
    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    set_aside: list[str] = field(default_factory=list)
    _finished: int = 0
    _finished_errors: Counter[str] = field(default_factory=Counter)
    _running: dict[int, PartRunning] = field(default_factory=dict)

    def add(self, event: PartEvent) -> None:
        """Count an event of an engine."""
        index = event.part.index
        if isinstance(event, PartRunning):
            self._running[index] = event
        else:
            self._running.pop(index, None)
        if isinstance(event, PartDone):
            self._finished += event.part.rows
            self._finished_errors.update(event.errors)
        elif isinstance(event, WorkerDied) and event.deaths >= MAX_DEATHS:
            self.set_aside.append(event.part.name)
        self.done = self._finished + sum(running.rows for running in self._running.values())
        self.errors = self._finished_errors.copy()
        for running in self._running.values():
            self.errors.update(running.errors)
