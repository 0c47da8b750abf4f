"""Requests are counted while the kernel moves them, as they were sent."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from observed_fixtures import Programs, exchange, observing, open_programs, request, response

from edgemesh.kernel.bpf import observed_maps
from edgemesh.kernel.shipped import shipped
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


async def test_what_declares_no_protocol_is_counted_when_it_speaks_http(programs: Programs) -> None:
    async with observing(programs) as plane:
        server = plane.serve(protocol="")
        client = await plane.world.call()
        await client.send(request())
        endpoint = await server.accept()
        assert await endpoint.receive(len(request())) == request()
        await endpoint.send(response())
        assert await client.receive(len(response())) == response()
        await exchange(client, endpoint, request(), response())
        assert by_class(plane.meter.responses) == {"2xx": 2}


async def test_what_was_sent_with_an_end_is_relayed_uncounted(programs: Programs) -> None:
    async with observing(programs) as plane:
        server = plane.serve()
        client = await plane.world.call()
        await client.send(request())
        client.half_close()
        endpoint = await server.accept()
        assert await endpoint.receive_all() == request()
        await endpoint.send(response())
        endpoint.half_close()
        assert await client.receive_all() == response()
        report = await plane.world.report()
        # The end may come after the flow has entered.
        assert (report.requests, report.unobserved) in {(0, "not entered"), (1, "")}


async def test_flows_without_room_are_relayed_uncounted() -> None:
    with open_programs(observed_endpoints=1) as programs:
        async with observing(programs) as plane:
            first = await plane.connected()
            second = await plane.connected()
            await exchange(*first, request(), response())
            await exchange(*second, request(), response())
            assert by_class(plane.meter.responses) == {"2xx": 1}
            assert plane.unobserved == {"no room": 1}


def members(text: str, struct: str) -> dict[str, int]:
    """The words of a struct in C by name, with how many they are."""
    body = re.search(rf"struct {struct} \{{(.*?)\n\}};", text, re.DOTALL)
    assert body is not None
    found = re.findall(r"__u64 (\w+)(?:\[(\w+)\])?;", body[1])
    sizes = {name: int(size) for name, size in re.findall(r"#define (\w+) (\d+)\n", text)}
    sizes["UNOBSERVED_REASONS"] = len(observed_maps.UNOBSERVED)
    return {name: sizes[size] if size else 1 for name, size in found}


def test_words_are_where_the_program_has_them() -> None:
    text = shipped("bpf", "observe.h").read_text()
    watch, reader, tally = (members(text, name) for name in ("watch", "reader", "tally"))
    assert len(watch) + 2 * len(reader) == observed_maps.WATCH_WORDS
    names = list(watch)
    assert names.index("phase") == observed_maps.PHASE
    assert names.index("unobserved") == observed_maps.UNOBSERVED_FOR
    for name in ("refused_from", "refused_to", "wait_ns", "requests", "refused"):
        assert names.index(name) == getattr(observed_maps, name.upper())
    for name in ("has_no_body", "quota", "tally"):
        assert names.index(name) == getattr(observed_maps, name.upper())
    assert sum(tally.values()) == observed_maps.TALLY_WORDS
    assert list(tally.values()) == [10, 1, 40, 6]
    reasons = re.search(r"enum unobserved \{(.*?)\};", text, re.DOTALL)
    assert reasons is not None
    named = re.findall(r"^\tUNOBSERVED_(\w+),", reasons[1], re.MULTILINE)
    assert ["", *(name.lower() for name in named if name != "REASONS")] == [
        *observed_maps.UNOBSERVED
    ]
