"""When the oldest job of a queue arrived."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.serve.job import Job

NEVER = math.inf


class Arrivals:
    """The jobs of a queue by their arrival; whoever calls it holds the queue's lock.

    Args:
        publish: Called when the arrival of the oldest job, of ``time.monotonic``, changes; `NEVER` without jobs.
    """

    def __init__(self, publish: Callable[[float], None]) -> None:
        self._publish = publish
        self._jobs: OrderedDict[Job, None] = OrderedDict()
        publish(NEVER)

    def add(self, job: Job) -> None:
        """Note a job that has arrived after all others."""
        self._jobs[job] = None
        if len(self._jobs) == 1:
            self._publish(job.arrived)

    def remove(self, *jobs: Job) -> None:
        """Forget jobs that wait no longer."""
        oldest = self._oldest()
        for job in jobs:
            self._jobs.pop(job, None)
        if self._oldest() != oldest:
            self._publish(self._oldest())

    def _oldest(self) -> float:
        job = next(iter(self._jobs), None)
        return NEVER if job is None else job.arrived
