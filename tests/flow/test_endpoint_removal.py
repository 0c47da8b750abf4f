"""What becomes of relayed connections whose endpoint their Service has no more."""

from __future__ import annotations

import pytest
from plane_fixtures import running

from edgemesh.model.policies import EndpointRemoval, Policy
from edgemesh.model.services import Snapshot

pytestmark = pytest.mark.root

CLOSE = Policy(on_endpoint_removed=EndpointRemoval.CLOSE)


async def test_where_the_policy_asks_for_it_both_sides_are_reset() -> None:
    async with running() as world:
        server, other = world.serve(), world.serve()
        world.service(server.endpoint, policy=CLOSE)
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"before")
        assert await endpoint.receive(6) == b"before"
        world.service(other.endpoint, policy=CLOSE)
        assert await client.receive_until_reset() == b""
        assert await endpoint.receive_until_reset() == b""
        report = await world.report()
        assert (report.ending, report.reason) == ("endpoint-removed", "")


async def test_connections_to_endpoints_that_stay_go_on() -> None:
    async with running() as world:
        server, other = world.serve(), world.serve()
        world.service(other.endpoint, policy=CLOSE)
        client = await world.call()
        endpoint = await other.accept()
        world.service(server.endpoint, other.endpoint, policy=CLOSE)
        world.service(other.endpoint, policy=CLOSE)
        await client.send(b"after")
        assert await endpoint.receive(5) == b"after"
        client.close()
        endpoint.close()
        assert (await world.report()).ending == "closed"


async def test_without_such_a_policy_they_go_on() -> None:
    async with running() as world:
        server, other = world.serve(), world.serve()
        world.service(server.endpoint)
        client = await world.call()
        endpoint = await server.accept()
        world.service(other.endpoint)
        await client.send(b"after")
        assert await endpoint.receive(5) == b"after"
        client.close()
        endpoint.close()
        assert (await world.report()).ending == "closed"


async def test_an_endpoint_is_not_blamed_for_its_removal() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=CLOSE)
        client = await world.call()
        await server.accept()
        await world.until(world.plane.metrics.meters.all)
        world.service(policy=CLOSE)
        assert await client.receive_until_reset() == b""
        await world.report()
        [counted] = world.plane.metrics.meters.all()
        assert counted.meter.resets == 0


async def test_when_the_service_itself_is_gone_they_go_on() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=CLOSE)
        client = await world.call()
        endpoint = await server.accept()
        world.plane.swap(Snapshot())
        await client.send(b"after")
        assert await endpoint.receive(5) == b"after"
        client.close()
        endpoint.close()
        assert (await world.report()).ending == "closed"
