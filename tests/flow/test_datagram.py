"""What the relay promises about datagrams."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import structlog
from datagram_fixtures import OTHER_SERVICE, SERVICE6, Datagrams, running_datagrams

from edgemesh.model.services import Endpoint, PodIdentity

pytestmark = pytest.mark.root

LARGEST = 65507
IDLE = 30.0


async def test_a_datagram_is_answered_from_the_address_that_was_called() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        caller = await datagrams.ask(client, server)
        # One session: the server sees one caller.
        assert await datagrams.ask(client, server) == caller
        assert datagrams.world.plane.open_flows == 1


async def test_each_client_and_each_destination_has_a_session_of_its_own() -> None:
    async with running_datagrams() as datagrams:
        server, other_server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        datagrams.service(other_server.endpoint, at=OTHER_SERVICE)
        callers = set()
        for _ in range(2):
            client = await datagrams.speaker()
            callers.add(await datagrams.ask(client, server))
            callers.add(await datagrams.ask(client, other_server, at="127.0.0.2"))
        assert len(callers) == datagrams.world.plane.open_flows == 4


async def test_it_works_over_ipv6_and_to_endpoints_of_the_other_family() -> None:
    async with running_datagrams() as datagrams:
        for served in ("::1", "127.0.0.1"):
            client, server = await datagrams.speaker("::1"), await datagrams.speaker(served)
            datagrams.service(server.endpoint, at=SERVICE6)
            await datagrams.ask(client, server, at="::1")


@pytest.mark.parametrize("size", [0, 1, 1500, LARGEST])
async def test_datagrams_of_all_sizes_pass_whole_both_ways(size: int) -> None:
    async with running_datagrams(relay_buffer_bytes=4096) as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        await datagrams.ask(client, server, bytes(range(256)) * (size // 256) + bytes(size % 256))
        datagrams.world.skip(IDLE)
        report = await datagrams.world.report()
        assert (report.bytes_sent, report.bytes_received) == (size, size)


async def test_the_order_of_datagrams_stays() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        for number in range(100):
            await client.send(bytes([number]), ("127.0.0.1", datagrams.port))
        assert [(await server.receive())[0][0] for _ in range(100)] == list(range(100))


async def test_a_silent_session_ends_after_the_timeout_and_is_reported() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        await datagrams.ask(client, server, b"abc")
        datagrams.world.skip(IDLE)
        report = await datagrams.world.report()
        assert (report.transport, report.ending, report.reason) == ("UDP", "closed", "silent")
        assert report.destination == "10.96.0.10:53"
        assert report.service == "default/dns:53"
        assert report.endpoint == f"127.0.0.1:{server.endpoint.port}"
        assert (report.bytes_sent, report.bytes_received, report.attempts) == (3, 3, 1)
        # The next datagram begins another.
        await datagrams.ask(client, server)


async def test_an_answer_puts_the_timeout_off_as_a_question_does() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        caller = await datagrams.ask(client, server)
        for _ in range(4):
            datagrams.world.skip(IDLE * 0.6)
            await server.send(b"news", caller)
            assert (await client.receive())[0] == b"news"
            await datagrams.world.deadlines_pass()
        assert datagrams.world.reports == []
        datagrams.world.skip(IDLE)
        assert (await datagrams.world.report()).reason == "silent"


async def test_at_the_limit_the_longest_silent_session_gives_way() -> None:
    async with running_datagrams(max_udp_sessions=3) as datagrams:
        clients = [await datagrams.speaker() for _ in range(4)]
        server = await datagrams.speaker()
        datagrams.service(server.endpoint)
        callers = [await datagrams.ask(client, server) for client in clients[:3]]
        # The first asks again and the second is spoken to, so the third is the most silent.
        await datagrams.ask(clients[0], server)
        await server.send(b"news", callers[1])
        await clients[1].receive()
        await datagrams.ask(clients[3], server)
        report = await datagrams.world.report()
        assert report.ending == "evicted"
        assert report.client.endswith(f":{clients[2].endpoint.port}")
        assert datagrams.world.plane.open_flows == 3


async def test_the_limit_is_one_for_both_families() -> None:
    async with running_datagrams(max_udp_sessions=1) as datagrams:
        server = await datagrams.speaker()
        datagrams.service(server.endpoint)
        datagrams.service(server.endpoint, at=SERVICE6)
        await datagrams.ask(await datagrams.speaker(), server)
        await datagrams.ask(await datagrams.speaker("::1"), server, at="::1")
        assert (await datagrams.world.report()).ending == "evicted"


async def closed_endpoint(datagrams: Datagrams) -> Endpoint:
    server = await datagrams.speaker()
    endpoint = server.endpoint
    server.sock.close()
    return endpoint


def is_in_use(datagrams: Datagrams, endpoint: Endpoint) -> bool:
    """Whether a session has the endpoint, or tries it."""
    return any(
        state.active
        for upstream in datagrams.world.plane.decider.traffic.upstreams()
        for state in upstream.states()
        if state.endpoint.port == endpoint.port
    )


async def test_after_a_refusal_the_next_endpoint_gets_the_next_datagram() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(await closed_endpoint(datagrams), server.endpoint)
        await client.send(b"lost", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: is_in_use(datagrams, server.endpoint))
        await datagrams.ask(client, server)
        datagrams.world.skip(IDLE)
        assert (await datagrams.world.report()).attempts == 2


async def test_when_all_refuse_the_report_says_who_and_why_and_the_next_datagram_tries_again() -> (
    None
):
    async with running_datagrams() as datagrams:
        client = await datagrams.speaker()
        dead = await closed_endpoint(datagrams)
        datagrams.service(dead)
        await client.send(b"lost", ("127.0.0.1", datagrams.port))
        report = await datagrams.world.report()
        assert report.ending == "connect-failed"
        assert report.reason == f"127.0.0.1:{dead.port}: Connection refused"
        server = await datagrams.speaker()
        datagrams.service(server.endpoint)
        await datagrams.ask(client, server)


async def test_when_the_endpoint_is_removed_the_next_datagram_goes_to_another() -> None:
    async with running_datagrams() as datagrams:
        client = await datagrams.speaker()
        old, new = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(old.endpoint)
        await datagrams.ask(client, old)
        datagrams.service(new.endpoint)
        await datagrams.ask(client, new)
        report = await datagrams.world.report()
        assert (report.ending, report.reason) == ("closed", "endpoint removed")


async def test_a_change_of_the_snapshot_that_keeps_the_endpoint_keeps_the_session() -> None:
    async with running_datagrams() as datagrams:
        client, server, other = [await datagrams.speaker() for _ in range(3)]
        datagrams.service(server.endpoint)
        caller = await datagrams.ask(client, server)
        moved = Endpoint(server.endpoint.address, server.endpoint.port, pod="default/renamed")
        datagrams.service(other.endpoint, moved)
        assert await datagrams.ask(client, server) == caller


async def test_a_session_does_not_keep_the_snapshot_that_it_began_with() -> None:
    """Snapshots are large, and may be replaced every second."""

    class Pods(dict[str, PodIdentity]):
        """A mapping that can be referred to weakly."""

    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        plane = datagrams.world.plane
        pods = Pods()
        datagrams.service(server.endpoint)
        plane.swap(replace(plane.decider.snapshot, pods=pods))
        await datagrams.ask(client, server)
        plane.swap(replace(plane.decider.snapshot, pods={}))
        kept = weakref.ref(pods)
        del pods
        gc.collect()
        assert kept() is None
        assert plane.open_flows == 1


async def test_datagrams_to_no_service_or_no_endpoint_are_counted_and_dropped() -> None:
    async with running_datagrams() as datagrams:
        client = await datagrams.speaker()
        refusals = datagrams.world.plane.metrics.refusals.by_reason
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: refusals == {"no-service": 1})
        datagrams.service()
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: refusals == {"no-service": 1, "no-endpoint": 1})


async def test_a_datagram_that_was_sent_to_the_listener_itself_is_refused() -> None:
    async with running_datagrams() as datagrams:
        client = await datagrams.speaker()
        await client.send(b"?", ("127.0.0.3", datagrams.port))
        refusals = datagrams.world.plane.metrics.refusals.by_reason
        await datagrams.world.until(lambda: refusals == {"self-destination": 1})


async def test_a_service_whose_endpoint_is_our_own_listener_does_not_loop() -> None:
    async with running_datagrams() as datagrams:
        client = await datagrams.speaker()
        datagrams.service(Endpoint("127.0.0.1", datagrams.port))
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        report = await datagrams.world.report()
        assert report.reason.endswith("this is edgemesh's own listener")


async def test_draining_takes_no_more_datagrams_but_passes_answers_on() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        caller = await datagrams.ask(client, server)
        await datagrams.world.plane.drain(1)
        await server.send(b"late", caller)
        assert (await client.receive())[0] == b"late"
        await client.send(b"more", ("127.0.0.1", datagrams.port))
        await datagrams.world.comes_to_rest()
    assert datagrams.world.reports[0].bytes_sent == 1


@pytest.mark.interpreted
async def test_a_bug_with_one_datagram_ends_its_session_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_datagrams() as datagrams:
        one, two, server = [await datagrams.speaker() for _ in range(3)]
        datagrams.service(server.endpoint)
        plane = datagrams.world.plane
        await datagrams.ask(one, server)
        (session,) = plane.sessions.values()
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as logs:
            broken.setattr(type(session), "is_stale", lambda _self: False)
            broken.setattr(type(session), "_be_active", lambda _self: 1 / 0)
            await one.send(b"?", ("127.0.0.1", datagrams.port))
            report = await datagrams.world.report()
        assert (report.ending, report.reason) == ("error", "ZeroDivisionError")
        assert len(logs) == plane.reactor.bugs == 1
        await datagrams.ask(two, server)
        plane.reactor.bugs = 0
