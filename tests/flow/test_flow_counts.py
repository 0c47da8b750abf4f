"""What flows count for Prometheus, endpoint by endpoint."""

from __future__ import annotations

import pytest
import trio
from datagram_fixtures import running_datagrams
from plane_fixtures import World, running

from edgemesh.model.meters import Meter
from edgemesh.model.services import Endpoint

pytestmark = pytest.mark.root


def meter(world: World, endpoint: Endpoint) -> Meter:
    """The one that there is; a new one where nothing was counted."""
    for counted in world.plane.metrics.meters.all():
        if (counted.key.address, counted.key.endpoint_port) == (endpoint.address, endpoint.port):
            assert counted.key.path == "relay"
            return counted.meter
    return Meter()


async def test_a_connection_and_its_bytes_count_for_the_endpoint_that_took_it() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"12345")
        assert await endpoint.receive(5) == b"12345"
        assert meter(world, server.endpoint).connections == 1
        await endpoint.send(b"123")
        assert await client.receive(3) == b"123"
        client.close()
        endpoint.close()
        await world.report()
        counts = meter(world, server.endpoint)
        assert (counts.bytes_sent, counts.bytes_received) == (5, 3)
        assert (counts.connect_failures, counts.resets) == (0, 0)


async def test_a_failure_to_connect_counts_for_the_endpoint_that_failed() -> None:
    async with running() as world:
        server, dead = world.serve(), world.closed()
        world.service(dead, server.endpoint)
        client = await world.call()
        await server.accept()
        await world.until(lambda: meter(world, server.endpoint).connections)
        assert (meter(world, dead).connect_failures, meter(world, dead).connections) == (1, 0)
        good = meter(world, server.endpoint)
        assert (good.connect_failures, good.connections) == (0, 1)
        client.reset()
        await world.report()


async def test_a_connection_that_the_endpoint_breaks_off_counts_as_reset() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        endpoint = await server.accept()
        # One that breaks off before it was seen to be there has failed to connect.
        await world.until(lambda: meter(world, server.endpoint).connections)
        endpoint.reset()
        assert await client.receive_until_reset() == b""
        await world.report()
        assert meter(world, server.endpoint).resets == 1


async def test_a_session_counts_for_the_endpoints_that_its_datagrams_went_to() -> None:
    async with running_datagrams() as datagrams:
        client, server, gone = [await datagrams.speaker() for _ in range(3)]
        dead = gone.endpoint
        gone.sock.close()
        datagrams.service(dead, server.endpoint)
        await client.send(b"lost", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: meter(datagrams.world, dead).connect_failures)
        await datagrams.ask(client, server, b"hello")
        datagrams.world.skip(30)
        report = await datagrams.world.report()
        counts = meter(datagrams.world, server.endpoint)
        assert counts.connections == 1
        assert (counts.bytes_sent, counts.bytes_received) == (
            report.bytes_sent,
            report.bytes_received,
        )


async def test_bytes_count_for_the_path_that_a_flow_has_taken_in_the_end() -> None:
    much = bytes(4_000_000)
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        endpoint = await server.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, much)
            assert await endpoint.receive(len(much)) == much
        client.close()
        endpoint.close()
        assert (await world.report()).path == "splice"
        sent = {each.key.path: each.meter.bytes_sent for each in world.plane.metrics.meters.all()}
        assert sent == {"relay": 0, "splice": len(much)}
