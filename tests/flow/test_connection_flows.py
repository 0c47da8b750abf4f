"""Connections that are routed by what they say first, by who calls or by weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hello_bytes import openssl_hello
from plane_fixtures import Peer, Server, World, running

from edgemesh.model.policies import Breaker, Policy
from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import Endpoint, PodIdentity
from edgemesh.policy.traffic.breaker import Phase

pytestmark = pytest.mark.root

# As long as no machine stands still: nothing that a client says comes after it by chance.
DEADLINE = 30.0
HELLO = openssl_hello("a.example.org", ("h2", "http/1.1"))
OTHER_HELLO = openssl_hello("b.example.org")
TO_V1 = (Backend("default", "v1", 0),)
NAMED = ConnectionRoute("named", TO_V1, server_names=("a.example.org",))
ANY = ConnectionRoute("any", TO_V1)


def routed(world: World, *routes: ConnectionRoute, **port: object) -> tuple[Server, Server]:
    """The endpoint of the Service that is called, and that of the Service ``v1``."""
    own, v1 = world.serve(), world.serve()
    backend(world, "v1", v1.endpoint)
    world.service(own.endpoint, connection_routes=routes, **port)
    return own, v1


def backend(world: World, name: str, *endpoints: Endpoint, **port: object) -> None:
    """A Service that nobody calls by itself."""
    world.service_at(("127.0.0.9", 80), *endpoints, service=name, **port)


async def arrives(client: Peer, server: Server, said: bytes) -> Peer:
    """What was said comes whole, and an answer goes back."""
    endpoint = await server.accept()
    assert await endpoint.receive(len(said)) == said
    await endpoint.send(b"hello")
    assert await client.receive(5) == b"hello"
    return endpoint


@pytest.mark.parametrize("declared", ["", "tls"])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_the_name_in_the_client_hello_leads_to_its_backend(
    declared: str, pieces: int
) -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        _, v1 = routed(world, NAMED, application_protocol=declared)
        client = await world.call()
        size = -(-len(HELLO) // pieces)
        for start in range(0, len(HELLO), size):
            await client.send(HELLO[start : start + size])
            await world.comes_to_rest()
        await arrives(client, v1, HELLO)
        client.reset()
        report = await world.report()
        assert (report.service, report.route) == ("default/echo:80", "named")
        assert report.endpoint == f"127.0.0.1:{v1.endpoint.port}"
        assert (report.application_protocol, report.server_name) == ("tls", "a.example.org")
        assert report.alpn == ("h2", "http/1.1")


async def test_a_name_that_no_route_has_goes_to_the_service_that_was_called() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        own, _ = routed(world, NAMED)
        client = await world.call()
        await client.send(OTHER_HELLO)
        await arrives(client, own, OTHER_HELLO)
        client.reset()
        report = await world.report()
        assert (report.server_name, report.route, report.alpn) == ("b.example.org", "", ())


async def test_what_a_client_offers_by_alpn_may_lead_elsewhere() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        own, v1 = routed(world, replace(ANY, alpn=("h2",)))
        for hello, server in ((HELLO, v1), (OTHER_HELLO, own)):
            client = await world.call()
            await client.send(hello)
            await arrives(client, server, hello)


@pytest.mark.parametrize("declared", ["", "tls"])
async def test_who_says_nothing_is_not_waited_for_any_longer_than_the_deadline(
    declared: str,
) -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        own, _ = routed(world, NAMED, application_protocol=declared)
        client = await world.call()
        await world.until(lambda: world.plane.flows)
        await world.comes_to_rest()
        world.skip(DEADLINE)
        endpoint = await own.accept()
        await endpoint.send(b"220 ready")
        assert await client.receive(9) == b"220 ready"
        client.reset()
        assert (await world.report()).application_protocol == (declared or "opaque")


async def test_a_request_is_not_routed_by_its_host_as_a_server_name() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n"
    async with running(peek_deadline_seconds=DEADLINE) as world:
        own, _ = routed(world, NAMED, application_protocol="tls")
        client = await world.call()
        await client.send(request)
        await arrives(client, own, request)
        client.reset()
        report = await world.report()
        assert (report.application_protocol, report.server_name) == ("tls", "")


async def test_where_no_name_matters_a_server_that_speaks_first_loses_no_time() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        _, v1 = routed(world, ANY)
        client = await world.call()
        endpoint = await v1.accept()
        await endpoint.send(b"220 ready")
        assert await client.receive(9) == b"220 ready"
        client.reset()
        assert (await world.report()).route == "any"


async def test_connections_are_shared_out_by_weight() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        weighted = (*TO_V1, Backend("default", "echo", 0, weight=0))
        _, v1 = routed(world, replace(ANY, backends=weighted))
        pairs = [(await world.call(), await v1.accept()) for _ in range(5)]
        assert len(pairs) == 5


async def test_who_calls_may_lead_elsewhere() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        own, v1 = routed(world, replace(ANY, source_labels=(("app", "cart"),)))
        snapshot = world.plane.decider.snapshot
        pods = {"127.0.0.2": PodIdentity("shop", "cart-1", labels={"app": "cart"})}
        world.plane.swap(replace(snapshot, pods=pods))
        for source, server in (("127.0.0.2", v1), ("127.0.0.3", own)):
            client = await world.call(source=source)
            await client.send(b"x")
            await arrives(client, server, b"x")


async def test_a_service_without_endpoints_of_its_own_is_routed_all_the_same() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        v1 = world.serve()
        backend(world, "v1", v1.endpoint)
        world.service(connection_routes=(NAMED,))
        client = await world.call()
        await client.send(HELLO)
        await arrives(client, v1, HELLO)
        client.reset()
        await world.report()
        other = await world.call()
        await other.send(OTHER_HELLO)
        assert await other.receive_until_reset() == b""
        assert (await world.report(2)).reason == "no-endpoint"


async def test_a_backend_that_is_not_there_resets_the_client_and_the_report_says_so() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        world.service(
            world.serve().endpoint,
            connection_routes=(replace(ANY, backends=(Backend("default", "gone", 80),)),),
        )
        await world.call_in_vain()
        report = await world.report()
        assert (report.ending, report.reason, report.route) == ("refused", "no-backend", "any")


async def test_the_breaker_and_the_counts_are_those_of_the_backend() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        dead = world.closed()
        policy = Policy(breaker=Breaker(consecutive_errors=1, max_ejection_percent=100))
        backend(world, "v1", dead, policy=policy)
        world.service(world.serve().endpoint, connection_routes=(ANY,))
        await world.call_in_vain()
        await world.report()
        [upstream] = [
            each for each in world.plane.decider.traffic.upstreams() if each.port.service == "v1"
        ]
        assert [state.breaker.phase for state in upstream.states()] == [Phase.OPEN]
        [counted] = world.plane.metrics.meters.all()
        assert (counted.key.port[1], counted.meter.connect_failures) == ("v1", 1)
        await world.call_in_vain()
        assert (await world.report(2)).reason == "breaker-open"


async def test_a_flow_that_nothing_routes_is_reported_with_what_its_client_offers() -> None:
    async with running(peek_deadline_seconds=DEADLINE) as world:
        client, endpoint = await world.connected()
        await client.send(HELLO)
        assert await endpoint.receive(len(HELLO)) == HELLO
        client.reset()
        report = await world.report()
        assert (report.server_name, report.alpn) == ("a.example.org", ("h2", "http/1.1"))
