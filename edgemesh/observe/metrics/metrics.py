"""All that is counted of the data plane, and one answer to Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import trio

from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.services import Snapshot
from edgemesh.observe.metrics.exposition import Family, counter, gauge, labels
from edgemesh.observe.metrics.loop_lag import LoopLag
from edgemesh.observe.metrics.meter_families import meter_families
from edgemesh.observe.metrics.meters import Meters
from edgemesh.observe.metrics.refusals import Refusals
from edgemesh.observe.slices import run_in_slices

_SWEEP_SECONDS = 60.0


class Metrics:
    """Made before the data plane, which adds to it. For use on its thread only.

    Attributes:
        meters: of endpoints.
        refusals: of calls.
        loop_lag: of the event loop.
        unobserved: flows whose requests are not counted, or not to the end, by why.
    """

    def __init__(self, settings: MetricsSettings) -> None:
        """Count nothing yet."""
        self.meters = Meters(settings)
        self.refusals = Refusals(settings)
        self.loop_lag = LoopLag()
        self.unobserved: Counter[str] = Counter()

    async def run(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Measure the loop's lag, and drop what is gone though nobody asks, until cancelled.

        Args:
            snapshot: gives the one in force.
            task_status: started at once.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.loop_lag.run)
            task_status.started()
            while True:
                await trio.sleep(_SWEEP_SECONDS)
                await run_in_slices(self._sweep(snapshot(), trio.current_time()))

    def text(self, snapshot: Snapshot, now: float, others: Iterable[Family]) -> Iterator[str]:
        """What Prometheus gets, in pieces; what is over is dropped at the end.

        Args:
            snapshot: the one in force.
            now: as trio's clock has it.
            others: families that come first.
        """
        for _ in self.meters.sweep(snapshot, now):
            yield ""
        counted = self.meters.all()
        over = self.meters.over()
        for family in (*others, *self._own_families(), *meter_families(counted)):
            yield from family.text()
        self.meters.drop(over)
        for _ in self.refusals.sweep(snapshot):
            yield ""

    def _sweep(self, snapshot: Snapshot, now: float) -> Iterator[None]:
        yield from self.meters.sweep(snapshot, now)
        yield from self.refusals.sweep(snapshot)

    def _own_families(self) -> Iterator[Family]:
        yield self.loop_lag.family()
        yield self.refusals.family()
        yield counter(
            "edgemesh_unobserved_flows_total",
            "Flows whose policy asks to count requests on the way, and whose are not, by why.",
            [(labels(reason=why), count) for why, count in self.unobserved.items()],
        )
        yield gauge(
            "edgemesh_meters",
            "Endpoints, times forwarding paths, that are counted one by one.",
            [("", len(self.meters))],
        )
        yield counter(
            "edgemesh_meters_overflowed_total",
            "Calls that were counted as service other, for there were too many endpoints.",
            [("", self.meters.overflowed)],
        )
