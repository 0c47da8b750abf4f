"""Requests that an endpoint never saw: its connection had ended, or nobody listened there."""

from __future__ import annotations

from http1_peers import GET, OK, POST, asked, call_http, exchanged
from plane_fixtures import Peer, Server, World, running

# More than a retry budget lets through at once.
AT_ONCE = 20


async def clients_of(world: World, number: int, *servers: Server) -> list[Peer]:
    first = await call_http(world, *servers)
    return [first, *[await world.call() for _ in range(number - 1)]]


async def answer_each(clients: list[Peer], server: Server) -> list[Peer]:
    """Answer a request of each client on connections of their own, which are returned."""
    peers = [await asked(server) for _ in clients]
    for peer in peers:
        await peer.send(OK)
    for client in clients:
        assert await client.receive(len(OK)) == OK
    return peers


async def test_an_endpoint_that_closes_all_its_idle_connections_costs_no_request() -> None:
    async with running() as world:
        server = world.serve()
        clients = await clients_of(world, AT_ONCE, server)
        for client in clients:
            await client.send(GET)
        peers = await answer_each(clients, server)
        # Requests and the ends of the connections cross, as when a server is reloaded.
        for client in clients:
            await client.send(GET)
        for peer in peers:
            await peer.receive(len(GET))
        for peer in peers:
            peer.close()
        await answer_each(clients, server)


async def test_an_endpoint_that_refuses_to_connect_costs_no_request_however_many_there_are() -> (
    None
):
    async with running() as world:
        server = world.serve()
        clients = await clients_of(world, AT_ONCE, server)
        world.service(world.closed(), server.endpoint, application_protocol="http")
        for client in clients:
            await client.send(GET)
        await answer_each(clients, server)


async def test_a_post_goes_out_on_no_connection_that_has_just_ended() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        peer = await exchanged(client, server, POST)
        # Both are there when the reactor looks, the request first.
        assert client.send_what_fits(POST) == len(POST)
        peer.close()
        await (await asked(server, POST)).send(OK)
        assert await client.receive(len(OK)) == OK
