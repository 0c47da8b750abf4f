"""What the metrics do by themselves while the agent runs."""

from __future__ import annotations

from bisect import bisect_left

import pytest
import trio
import trio.testing

from edgemesh.model.meters import LATENCY_BOUNDS
from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.observe.metrics.loop_lag import LoopLag
from edgemesh.observe.metrics.metrics import Metrics

PORT = ServicePort("default", "web", "", Transport.TCP, 80, endpoints=(Endpoint("10.1.0.1", 80),))


async def test_what_is_gone_is_forgotten_in_time_though_nobody_asks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    metrics = Metrics(MetricsSettings(keep_seconds=300))
    snapshot = Snapshot(ports={PORT.key: PORT})
    metrics.meters.meter(PORT, PORT.endpoints[0], "relay")
    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run, lambda: snapshot)
        await trio.sleep(1000)
        assert len(metrics.meters) == 1
        snapshot = Snapshot()
        await trio.sleep(299)
        assert len(metrics.meters) == 1
        await trio.sleep(122)
        assert len(metrics.meters) == 0
        nursery.cancel_scope.cancel()


async def test_the_lag_is_what_a_task_was_woken_later_than_it_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Read before and after each sleep of half a second: 0.2 s late, on time, and early.
    readings = iter([10.0, 10.7, 11.0, 11.5, 12.0, 12.499])
    lag = LoopLag(lambda: next(readings, 20.0))
    with trio.move_on_after(1.6):
        await lag.run()
    assert lag.seconds == pytest.approx(0.2)
    assert lag.latencies[bisect_left(LATENCY_BOUNDS, 0.2)] == 1
    assert lag.latencies[0] == 2
