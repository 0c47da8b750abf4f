"""Calls that reach this node's endpoint at its own address: its server's limits, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from datagram_fixtures import SERVICE, running_datagrams
from http1_peers import GET, OK, asked, call_http, exchanged, failing, head_of
from http2_peers import GRPC, h2_client, h2_endpoint, h2_pair, told_at_once
from http2_peers import OK as OK_OF_HTTP2
from plane_fixtures import Peer, Server, World, assert_seconds_left, running

from edgemesh.model.policies import DEFAULT_POLICY, Breaker, Policy, Quota, ServerLimits
from edgemesh.model.services import (
    Endpoint,
    Service,
    ServicePort,
    Snapshot,
    Source,
    Transport,
)
from edgemesh.policy.inbound import inbound_ports

pytestmark = pytest.mark.root

NODE = "edge-1"
# What stands for the Service's address; calls of 127.0.0.1 are inbound ones.
SERVICE_ADDRESS = "127.0.0.2"
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
    b"X-Edgemesh-Reason: server-overflow\r\n\r\n"
)
ONE_AT_A_TIME = ServerLimits(max_concurrent=1)


def snapshot_of(
    port: ServicePort, inbound_at: tuple[str, int], called: tuple[str, int]
) -> Snapshot:
    """The port is called at ``called``, and its endpoint by calls that go to ``inbound_at``."""
    views = list(inbound_ports(Service("default", "echo", ports=(port,)), NODE, Source.NODE))
    is_tcp = port.transport is Transport.TCP
    served, inbound = {called: port}, dict(zip([inbound_at], views, strict=False))
    return Snapshot(
        node=NODE,
        tcp=served if is_tcp else {},
        udp={} if is_tcp else served,
        tcp_inbound=inbound if is_tcp else {},
        udp_inbound={} if is_tcp else inbound,
        ports={each.key: each for each in (port, *views)},
    )


def serve_at(
    world: World, endpoint: Endpoint, server: ServerLimits, application_protocol: str = "tcp"
) -> None:
    port = ServicePort(
        "default",
        "echo",
        "",
        Transport.TCP,
        80,
        application_protocol=application_protocol,
        policy=Policy(server=server),
        endpoints=(replace(endpoint, node=NODE),),
    )
    where = world.port
    world.plane.swap(snapshot_of(port, ("127.0.0.1", where), (SERVICE_ADDRESS, where)))


async def http_world(world: World, server: ServerLimits) -> tuple[Server, Peer]:
    """An endpoint, and a client that has called its own address."""
    endpoint = world.serve()
    serve_at(world, endpoint.endpoint, server, "http")
    return endpoint, await world.call()


async def test_connections_of_both_ways_count_together() -> None:
    async with running() as world:
        server = world.serve()
        serve_at(world, server.endpoint, ONE_AT_A_TIME)
        client = await world.call()
        held = await server.accept()
        await world.call_in_vain()
        await world.call_in_vain(SERVICE_ADDRESS)
        assert world.plane.metrics.refusals.by_reason == {"server-overflow": 2}
        client.close()
        assert await held.receive_all() == b""
        held.close()
        await world.report(3)
        await world.call(SERVICE_ADDRESS)
        await server.accept()
        await world.call_in_vain()


async def test_a_request_beyond_the_quota_is_answered_with_429_and_its_reason() -> None:
    async with running() as world:
        endpoint, client = await http_world(world, ServerLimits(quota=Quota(0.001, 1)))
        began = trio.current_time()
        await exchanged(client, endpoint)
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (429, "server-quota")
        assert_seconds_left(fields["retry-after"], 1000, began)
        by_service = await world.call(SERVICE_ADDRESS)
        await by_service.send(GET)
        assert (await head_of(by_service))[0] == 429


async def test_a_request_waits_for_its_turn_and_the_next_is_answered_with_503() -> None:
    async with running() as world:
        endpoint, first = await http_world(
            world, ServerLimits(max_concurrent=1, max_queue=1, queue_timeout_seconds=30)
        )
        await first.send(GET)
        connection = await asked(endpoint)
        second, third = await world.call(), await world.call()
        await second.send(GET)
        await world.until_one_waits()
        await third.send(GET)
        status, fields = await head_of(third)
        assert (status, fields["x-edgemesh-reason"]) == (503, "server-overflow")
        await connection.send(OK)
        assert await first.receive(len(OK)) == OK
        assert await connection.receive(len(GET)) == GET
        await connection.send(OK)
        assert await second.receive(len(OK)) == OK


async def test_a_body_that_came_while_its_request_waited_goes_by_a_kept_connection() -> None:
    post = b"POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: 4\r\n\r\n"
    async with running() as world:
        endpoint, first = await http_world(
            world, ServerLimits(max_concurrent=1, max_queue=1, queue_timeout_seconds=30)
        )
        await first.send(GET)
        connection = await asked(endpoint)
        second = await world.call()
        await second.send(post)
        await world.until_one_waits()
        await second.send(b"body")
        await connection.send(OK)
        assert await first.receive(len(OK)) == OK
        assert await connection.receive(len(post) + 4) == post + b"body"
        await connection.send(OK)
        assert await second.receive(len(OK)) == OK


async def test_requests_of_one_http2_connection_are_let_through_one_by_one() -> None:
    async with running() as world:
        server = world.serve()
        serve_at(world, server.endpoint, ServerLimits(quota=Quota(0.001, 1)), "http2")
        client = await h2_client(world)
        streams = [await client.request() for _ in range(2)]
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request())
        first, second = [await client.over(stream) for stream in streams]
        assert first.status == "200"
        assert (second.status, second.head["x-edgemesh-reason"]) == ("429", "server-quota")


async def test_an_endpoint_whose_node_turns_requests_away_is_not_taken_for_broken() -> None:
    async with running() as world:
        endpoint = world.serve()
        policy = Policy(breaker=Breaker(consecutive_errors=1, max_ejection_percent=100))
        client = await call_http(world, endpoint, policy=policy)
        connection = await exchanged(client, endpoint, answer=TURNED_AWAY)
        broken = failing(503)
        await client.send(GET)
        assert await connection.receive(len(GET)) == GET
        await connection.send(broken)
        assert await client.receive(len(broken)) == broken
        await client.send(GET)
        assert (await head_of(client))[1]["x-edgemesh-reason"] == "breaker-open"


async def test_a_call_of_grpc_that_is_turned_away_does_not_count_either() -> None:
    async with running() as world:
        policy = Policy(breaker=Breaker(consecutive_errors=1, max_ejection_percent=100))
        client, server = await h2_pair(world, policy=policy)
        streams = [await client.request(GRPC, b"x") for _ in range(2)]
        endpoint = await h2_endpoint(server)
        unavailable = (*OK_OF_HTTP2, ("grpc-status", "14"))
        for reason in ("server-overflow", "server-quota"):
            stream = await endpoint.next_request()
            await endpoint.respond(stream, (*unavailable, ("x-edgemesh-reason", reason)))
        for stream in streams:
            assert (await client.over(stream)).head["grpc-status"] == "14"
        stream = await client.request(GRPC, b"x")
        await endpoint.respond(await endpoint.next_request(), unavailable)
        await client.over(stream)
        assert (await told_at_once(world, grpc=True))["x-edgemesh-reason"] == "breaker-open"


async def test_a_connection_of_requests_goes_on_when_nothing_is_limited_any_more() -> None:
    async with running() as world:
        endpoint, client = await http_world(world, ServerLimits(quota=Quota(0.001, 1)))
        kept = await exchanged(client, endpoint)
        serve_at(world, endpoint.endpoint, ServerLimits(), "http")
        world.skip(world.plane.settings.inbound_linger_seconds)
        serve_at(world, endpoint.endpoint, ServerLimits(), "http")
        await client.send(GET)
        assert await kept.receive(len(GET)) == GET
        await kept.send(OK)
        assert await client.receive(len(OK)) == OK
        await exchanged(client, endpoint)


async def test_calls_that_are_still_diverted_reach_an_endpoint_that_is_none_any_more() -> None:
    async with running() as world:
        server = world.serve()
        serve_at(world, server.endpoint, ONE_AT_A_TIME)
        for _ in range(2):
            world.plane.swap(Snapshot(node=NODE))
            await world.call()
            await server.accept()
        world.skip(world.plane.settings.inbound_linger_seconds)
        world.plane.swap(Snapshot(node=NODE))
        await world.call_in_vain()


async def test_an_endpoint_that_comes_back_meanwhile_is_limited_again() -> None:
    async with running() as world:
        server = world.serve()
        serve_at(world, server.endpoint, ONE_AT_A_TIME)
        world.plane.swap(Snapshot(node=NODE))
        serve_at(world, server.endpoint, ONE_AT_A_TIME)
        await world.call()
        await server.accept()
        await world.call_in_vain()


async def test_connections_to_limited_endpoints_of_other_nodes_are_renewed() -> None:
    async with running(limited_connection_seconds=60.0) as world:
        server = world.serve()
        far = replace(server.endpoint, node="edge-2")
        world.plane.swap(Snapshot(node=NODE))
        world.service(far, application_protocol="http")
        client = await world.call()
        old = await exchanged(client, server)
        policy = Policy(server=ServerLimits(quota=Quota(100, 100)))
        world.service(far, application_protocol="http", policy=policy)
        kept = await exchanged(client, server)
        assert await old.receive_all() == b""
        await client.send(GET)
        assert await kept.receive(len(GET)) == GET
        world.skip(62.0)
        await kept.send(OK)
        assert await client.receive(len(OK)) == OK
        await exchanged(client, server)
        assert await kept.receive_all() == b""


async def test_http2_connections_to_limited_endpoints_of_other_nodes_are_renewed() -> None:
    async with running(limited_connection_seconds=60.0) as world:
        server = world.serve()
        far = replace(server.endpoint, node="edge-2")
        world.plane.swap(Snapshot(node=NODE))
        world.service(far, application_protocol="http2")
        client = await h2_client(world)
        under_way = await client.request()
        old = await h2_endpoint(server)
        asked_before = await old.next_request()
        policy = Policy(server=ServerLimits(quota=Quota(100, 100)))
        world.service(far, application_protocol="http2", policy=policy)
        later = await client.request()
        new = await h2_endpoint(server)
        await new.respond(await new.next_request())
        assert (await client.over(later)).status == "200"
        await old.respond(asked_before)
        assert (await client.over(under_way)).status == "200"
        await old.until_closed()


def limited_names(endpoint: Endpoint) -> ServicePort:
    return ServicePort(
        "default",
        "echo",
        "",
        Transport.UDP,
        53,
        policy=Policy(server=ServerLimits(quota=Quota(0.001, 2))),
        endpoints=(replace(endpoint, node=NODE),),
    )


async def test_datagrams_beyond_the_quota_are_dropped_until_their_endpoint_is_let_alone() -> None:
    async with running_datagrams() as there:
        server, client = await there.speaker(), await there.speaker()
        port = limited_names(server.endpoint)
        plane = there.world.plane
        plane.swap(snapshot_of(port, SERVICE, ("10.96.0.99", 53)))
        for number in range(4):
            await client.send(b"%d" % number, ("127.0.0.1", there.port))
        for number in range(2):
            assert (await server.receive())[0] == b"%d" % number
        await there.world.until(lambda: plane.reports.dropped_datagrams == 2)
        assert plane.open_flows == 1
        free = replace(port, policy=DEFAULT_POLICY)
        plane.swap(snapshot_of(free, SERVICE, ("10.96.0.99", 53)))
        assert plane.open_flows == 0
        assert (await there.world.report()).reason == "endpoint removed"


async def test_a_plane_that_drains_stands_in_the_place_of_no_endpoint_any_more() -> None:
    async with running_datagrams() as there:
        server, client = await there.speaker(), await there.speaker()
        plane = there.world.plane
        plane.swap(snapshot_of(limited_names(server.endpoint), SERVICE, ("10.96.0.99", 53)))
        await client.send(b"0", ("127.0.0.1", there.port))
        await server.receive()
        assert plane.open_flows == 1
        await plane.drain(1)
        assert plane.open_flows == 0
