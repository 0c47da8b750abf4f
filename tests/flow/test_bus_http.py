"""HTTP whose endpoint is reached by the bus: two planes and streams between them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from bus_fixtures import NODE_A, NODE_B, Mesh, meshed
from http1_peers import GET, OK, POST, asked, exchanged, head_of
from http2_peers import GRPC, h2_client, h2_endpoint
from plane_fixtures import Peer, Server

from edgemesh.model.policies import Policy, Quota, QuotaScope, ServerLimits
from edgemesh.model.services import PodIdentity

pytestmark = pytest.mark.root


async def http(mesh: Mesh, **port: object) -> tuple[Server, Peer]:
    server = mesh.serve(application_protocol="http", **port)
    return server, await mesh.a.call()


async def test_requests_go_one_after_the_other_on_one_stream() -> None:
    async with meshed() as mesh:
        server, client = await http(mesh)
        endpoint = await exchanged(client, server)
        await client.send(POST)
        assert await endpoint.receive(len(POST)) == POST
        await endpoint.send(OK)
        assert await client.receive(len(OK)) == OK
        assert len(mesh.bus.asked) == 1


async def test_a_body_of_any_size_passes() -> None:
    body = bytes(range(256)) * 4096
    head = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with meshed() as mesh:
        server, client = await http(mesh)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, head + body)
            endpoint = await server.accept()
            assert await endpoint.receive(len(head + body)) == head + body
        await endpoint.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_clients_have_streams_of_their_own_for_the_other_end_is_told_whose_they_are() -> None:
    async with meshed() as mesh:
        server, client = await http(mesh)
        await exchanged(client, server)
        other = await mesh.a.call(source="127.0.0.7")
        await exchanged(other, server)
        assert [each.client[0] for each in mesh.bus.asked] == ["127.0.0.1", "127.0.0.7"]


async def test_connections_of_another_way_are_not_used_any_more() -> None:
    async with meshed() as mesh:
        server, client = await http(mesh)
        await exchanged(client, server)
        mesh.bus.routes[NODE_B] = "hub"
        await exchanged(client, server)
        mesh.bus.routes.clear()
        await exchanged(client, server)
        assert len(mesh.bus.asked) == 2


async def test_a_pooled_stream_of_a_dead_link_is_replaced_without_an_error() -> None:
    async with meshed() as mesh:
        server, client = await http(mesh)
        await exchanged(client, server)
        mesh.bus.cut()
        await exchanged(client, server)
        assert len(mesh.bus.asked) == 2


async def test_a_request_beyond_the_servers_quota_gets_429_from_the_node_of_the_endpoint() -> None:
    async with meshed() as mesh:
        limits = ServerLimits(quota=Quota(0.01, 1))
        server, client = await http(mesh, policy=Policy(server=limits))
        await exchanged(client, server)
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (429, "server-quota")
        assert mesh.b.plane.reports.refused_requests == 1


async def test_a_quota_by_source_counts_the_workload_that_the_other_end_has_named() -> None:
    async with meshed() as mesh:
        limits = ServerLimits(quota=Quota(0.01, 1, QuotaScope.SOURCE))
        server, client = await http(mesh, policy=Policy(server=limits))
        pods = {
            "127.0.0.1": PodIdentity("shop", "cart-1", workload="cart"),
            "127.0.0.7": PodIdentity("shop", "stock-1", workload="stock"),
        }
        mesh.a.plane.swap(replace(mesh.a.plane.decider.snapshot, pods=pods))
        endpoint = await exchanged(client, server)
        other = await mesh.a.call(source="127.0.0.7")
        await other.send(GET)
        assert await endpoint.receive(len(GET)) == GET
        await endpoint.send(OK)
        await other.receive(len(OK))
        await other.send(GET)
        assert (await head_of(other))[0] == 429


async def test_a_limit_that_comes_or_goes_holds_for_what_is_asked_next() -> None:
    async with meshed() as mesh:
        limited = Policy(server=ServerLimits(quota=Quota(0.01, 1)))
        server, client = await http(mesh, policy=limited)
        endpoint = await exchanged(client, server)
        port = mesh.b.plane.decider.snapshot.ports["default", "echo", "TCP", 80]
        # What comes after a while without limits has all of its tokens.
        for now in (replace(port, policy=Policy()), port):
            mesh.knows(mesh.b, NODE_B, now)
            await client.send(GET)
            assert await endpoint.receive(len(GET)) == GET
            await endpoint.send(OK)
            await client.receive(len(OK))
        await client.send(GET)
        assert (await head_of(client))[0] == 429


async def test_grpc_passes_with_its_trailers() -> None:
    async with meshed() as mesh:
        server = mesh.serve(application_protocol="grpc")
        client = await h2_client(mesh.a)
        stream_id = await client.request(GRPC)
        endpoint = await h2_endpoint(server)
        assert endpoint.heard[await endpoint.next_request()].head[":path"] == dict(GRPC)[":path"]
        await endpoint.respond(1, body=b"answer", trailers=(("grpc-status", "0"),))
        heard = await client.over(stream_id)
        assert heard.body == b"answer"
        assert heard.trailers == {"grpc-status": "0"}


async def test_a_grpc_call_beyond_the_servers_quota_gets_its_status_from_the_node() -> None:
    async with meshed() as mesh:
        limits = Policy(server=ServerLimits(quota=Quota(0.01, 1)))
        server = mesh.serve(application_protocol="grpc", policy=limits)
        client = await h2_client(mesh.a)
        first = await client.request(GRPC)
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request(), trailers=(("grpc-status", "0"),))
        await client.over(first)
        refused = await client.over(await client.request(GRPC))
        assert refused.head["x-edgemesh-reason"] == "server-quota"


async def test_an_endpoint_that_refuses_is_told_to_the_client() -> None:
    async with meshed() as mesh:
        mesh.service(mesh.a.closed(), application_protocol="http")
        client = await mesh.a.call()
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (502, "endpoint-failed")


async def test_an_upgraded_connection_carries_bytes_both_ways() -> None:
    upgrade = (
        b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    switching = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    async with meshed() as mesh:
        server, client = await http(mesh)
        await client.send(upgrade)
        endpoint = await asked(server, upgrade)
        await endpoint.send(switching + b"hello")
        assert await client.receive(len(switching) + 5) == switching + b"hello"
        await client.send(b"\x81\x00")
        assert await endpoint.receive(2) == b"\x81\x00"
        client.half_close()
        assert await endpoint.receive_all() == b""
        endpoint.half_close()
        assert (await mesh.a.report()).application_protocol == "websocket"


async def test_reports_of_requests_at_the_endpoints_node_name_the_calling_end() -> None:
    async with meshed() as mesh:
        server, client = await http(mesh)
        endpoint = await exchanged(client, server)
        client.close()
        await mesh.a.report()
        endpoint.close()
        report = await mesh.b.report()
        assert (report.from_node, report.client.split(":")[0]) == (NODE_A, "127.0.0.1")
