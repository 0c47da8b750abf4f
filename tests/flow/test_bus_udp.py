"""Datagrams whose endpoint is reached by the bus: two planes and a stream for each session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import structlog
from bus_fixtures import NODE_A, NODE_B, Mesh, meshed
from datagram_fixtures import Datagrams, Speaker

from edgemesh.model.flows import Ending
from edgemesh.model.policies import Policy, Quota, ServerLimits
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.model.streams import InboundStream
from edgemesh.reactor.virtual import VirtualSocket

pytestmark = pytest.mark.root

IDLE = 30.0


class Names:
    """A client at node-a, the Service that it asks, and the Service's endpoint on node-b."""

    def __init__(self, mesh: Mesh, client: Speaker, server: Speaker) -> None:
        self.mesh, self.client, self.server = mesh, client, server
        self.datagrams = Datagrams(mesh.a)

    def service(self, *endpoints: Endpoint, policy: Policy | None = None) -> ServicePort:
        listed = endpoints or (self.server.endpoint,)
        return self.mesh.service(
            *listed, transport=Transport.UDP, port=53, policy=policy or Policy()
        )

    async def ask(self, words: bytes = b"?") -> None:
        await self.datagrams.ask(self.client, self.server, words)


@asynccontextmanager
async def naming(policy: Policy | None = None, **settings: object) -> AsyncIterator[Names]:
    async with meshed(datagrams=True, **settings) as mesh:  # type: ignore[arg-type]
        datagrams = Datagrams(mesh.a)
        names = Names(mesh, await datagrams.speaker(), await datagrams.speaker())
        names.service(policy=policy)
        yield names


async def test_datagrams_pass_both_ways_and_the_first_is_not_lost() -> None:
    async with naming() as names:
        for words in (b"one", b"", b"three" * 10000):
            await names.ask(words)
        (request,) = names.mesh.bus.asked
        assert request.transport is Transport.UDP
        assert request.client == names.client.sock.getsockname()


async def test_datagrams_that_come_while_the_stream_opens_keep_their_order() -> None:
    async with naming() as names:
        for number in range(5):
            await names.client.send(b"%d" % number, ("127.0.0.1", names.datagrams.port))
        assert [(await names.server.receive())[0] for _ in range(5)] == [
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
        ]


async def test_clients_have_sessions_of_their_own() -> None:
    async with naming() as names:
        await names.ask()
        names.client = await names.datagrams.speaker()
        await names.ask()
        assert len(names.mesh.bus.asked) == 2


async def test_reports_say_which_way_a_session_went_and_where_it_came_from() -> None:
    async with naming() as names:
        await names.ask()
        for world in (names.mesh.a, names.mesh.b):
            world.skip(IDLE)
        at_a, at_b = await names.mesh.a.report(), await names.mesh.b.report()
        assert (at_a.way, at_b.from_node) == ("link to node-b", NODE_A)
        assert at_a.endpoint == at_b.endpoint
        assert at_a.ending == at_b.ending == "closed"


async def test_a_session_that_the_other_node_has_ended_is_begun_anew() -> None:
    async with naming() as names:
        await names.ask()
        (session,) = names.mesh.b.plane.sessions.values()
        names.mesh.b.plane.reactor.call(session, partial(session.finish, Ending.CLOSED))
        assert (await names.mesh.a.report()).ending == "closed"
        await names.ask()
        assert len(names.mesh.bus.asked) == 2


async def test_datagrams_beyond_the_servers_quota_are_dropped_at_its_node() -> None:
    limits = ServerLimits(quota=Quota(0.01, 2))
    async with naming(Policy(server=limits)) as names:
        await names.ask()
        await names.ask()
        await names.client.send(b"lost", ("127.0.0.1", names.datagrams.port))
        reports = names.mesh.b.plane.reports
        await names.mesh.b.until(lambda: reports.dropped_datagrams == 1)


async def test_a_refused_stream_is_a_refused_endpoint_with_its_reason() -> None:
    async with naming() as names:
        port = names.service()
        names.mesh.knows(names.mesh.b, NODE_B, replace(port, endpoints=()))
        with structlog.testing.capture_logs():
            await names.client.send(b"?", ("127.0.0.1", names.datagrams.port))
            report = await names.mesh.a.report()
        assert report.ending == "connect-failed"
        assert "is no endpoint of default/echo:53/UDP now" in report.reason


async def test_an_endpoint_that_refuses_ends_the_stream() -> None:
    async with naming() as names:
        names.server.sock.close()
        await names.client.send(b"?", ("127.0.0.1", names.datagrams.port))
        assert (await names.mesh.b.report()).ending == "connect-failed"
        assert (await names.mesh.a.report()).ending == "connect-failed"


async def test_a_session_ends_when_its_endpoint_is_gone() -> None:
    async with naming() as names:
        await names.ask()
        port = names.service()
        names.mesh.knows(names.mesh.b, NODE_B, replace(port, endpoints=()))
        await names.client.send(b"?", ("127.0.0.1", names.datagrams.port))
        report = await names.mesh.b.report()
        assert (report.ending, report.reason) == ("closed", "endpoint removed")


async def test_sessions_of_a_link_that_is_gone_are_over_at_both_ends() -> None:
    async with naming(connect_attempts=1) as names:
        await names.ask()
        names.mesh.bus.cut()
        assert (await names.mesh.b.report()).ending == "client-reset"
        assert (await names.mesh.a.report()).ending == "connect-failed"
        await names.ask()


async def test_a_session_without_an_endpoint_is_refused() -> None:
    async with naming() as names:
        plane = names.mesh.b.plane
        plane.decider.chooses = True
        port = plane.decider.snapshot.ports["default", "echo", "UDP", 53]
        snapshot = replace(
            plane.decider.snapshot,
            ports={port.key: replace(port, endpoints=())},
            ruled={("default", "echo"): frozenset()},
        )
        plane.swap(snapshot)
        wanted = InboundStream(NODE_A, port.key, "", ("10.0.0.1", 1), "", Transport.UDP)
        near = VirtualSocket(plane.reactor, datagrams=True)
        with structlog.testing.capture_logs():
            plane.enter(near, wanted)
        assert near.fileno() == -1
        assert plane.metrics.refusals.by_reason == {"no-endpoint": 1}


async def test_a_node_without_a_way_out_ends_the_stream() -> None:
    async with naming() as names:
        names.mesh.bus.gone = True
        await names.client.send(b"?", ("127.0.0.1", names.datagrams.port))
        report = await names.mesh.a.report()
        assert "Network is unreachable" in report.reason
