"""Requests are counted while the kernel moves them, as they were sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from observed_fixtures import Programs, exchange, observing, open_programs, request, response

from edgemesh.model.flows import Mover
from edgemesh.model.meters import by_class

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with open_programs() as made:
        yield made


async def test_requests_are_counted_and_the_agent_sleeps(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        await exchange(client, endpoint, request(), response())
        await plane.world.comes_to_rest()
        before = plane.world.plane.reactor.turns
        for _ in range(100):
            await exchange(client, endpoint, request(), response())
        assert plane.world.plane.reactor.turns == before
        meter = plane.meter
        assert by_class(meter.responses) == {"2xx": 101}
        assert sum(meter.latencies) == 101
        assert 0 < meter.seconds < 60
        assert plane.unobserved == {}


async def test_statuses_are_counted_by_class(programs: Programs) -> None:
    statuses = ("200 OK", "204 No Content", "301 Moved", "404 Not Found", "500 Oh", "503 No")
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        for status in statuses:
            body = b"" if status.startswith("204") else b"well"
            await exchange(client, endpoint, request(), response(body, status))
        assert by_class(plane.meter.responses) == {"2xx": 2, "3xx": 1, "4xx": 1, "5xx": 2}
        assert plane.unobserved == {}


async def test_the_flow_s_report_tells_its_requests(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        for _ in range(7):
            await exchange(client, endpoint, request(), response())
        client.close()
        endpoint.close()
        report = await plane.world.report()
        assert (report.requests, report.refused_requests, report.unobserved) == (7, 0, "")
        assert (report.path, report.movers) == ("splice", (Mover.SOCKMAP,))
