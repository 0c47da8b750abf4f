"""How late the event loop is: what every call waits for besides its own work."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import trio

from edgemesh.model.meters import LATENCY_BOUNDS
from edgemesh.observe.metrics.exposition import Family, FamilyType
from edgemesh.observe.metrics.histogram import HistogramTemplate

_NAME: Final = "edgemesh_loop_lag_seconds"
_TEMPLATE: Final = HistogramTemplate(_NAME, LATENCY_BOUNDS)
# Seldom enough to cost nothing; a stall of 100 ms is met every fifth time.
_EVERY_SECONDS = 0.5


class LoopLag:
    """How much later than asked for a task of trio's was woken.

    Attributes:
        latencies: as those of a `Meter`.
        seconds: all of it together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure nothing yet."""
        self._clock = clock
        self.latencies = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure twice a second until cancelled."""
        task_status.started()
        while True:
            due = self._clock() + _EVERY_SECONDS
            await trio.sleep(_EVERY_SECONDS)
            self.observe(max(0.0, self._clock() - due))

    def observe(self, seconds: float) -> None:
        """Count one lag."""
        self.latencies[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def family(self) -> Family:
        """As Prometheus gets it."""
        return Family(
            _NAME,
            FamilyType.HISTOGRAM,
            "How late the event loop woke a task, measured twice a second.",
            [_TEMPLATE.text("", self.latencies, self.seconds)],
        )
