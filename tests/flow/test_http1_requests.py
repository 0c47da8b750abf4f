"""HTTP/1 through the data plane: what one side says arrives at the other, byte for byte."""

from __future__ import annotations

import trio

from plane_fixtures import Peer, Server, World, running

GET = b"GET /things?n=1 HTTP/1.1\r\nHost: web\r\nX-Mixed-Case: Kept\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Server: one\r\n\r\nhello"


async def call_http(world: World, *servers: Server, **port: object) -> Peer:
    """A client of a Service that declares HTTP and has these endpoints."""
    world.service(*(one.endpoint for one in servers), application_protocol="http", **port)
    return await world.call()


async def test_a_request_and_its_response_arrive_as_they_were_sent() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await client.send(GET)
        peer = await server.accept()
        assert await peer.receive(len(GET)) == GET
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_the_requests_of_one_connection_take_turns_among_endpoints() -> None:
    async with running() as world:
        servers = [world.serve(), world.serve()]
        client = await call_http(world, *servers)
        peers = []
        for server in servers:
            await client.send(GET)
            peers.append(await server.accept())
            assert await peers[-1].receive(len(GET)) == GET
            await peers[-1].send(OK)
            assert await client.receive(len(OK)) == OK
        for peer in peers * 2:
            await client.send(GET)
            assert await peer.receive(len(GET)) == GET
            await peer.send(OK)
            assert await client.receive(len(OK)) == OK


async def test_a_connection_to_an_endpoint_is_used_by_the_next_client() -> None:
    async with running() as world:
        server = world.serve()
        first = await call_http(world, server)
        await first.send(GET)
        peer = await server.accept()
        await peer.receive(len(GET))
        await peer.send(OK)
        await first.receive(len(OK))
        first.close()
        second = await world.call()
        await second.send(GET)
        assert await peer.receive(len(GET)) == GET
        await peer.send(OK)
        assert await second.receive(len(OK)) == OK
