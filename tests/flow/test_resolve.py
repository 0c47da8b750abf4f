"""How a flow's protocol is worked out, and that nobody waits for it in vain."""

from __future__ import annotations

import pytest
import trio
from plane_fixtures import Peer, World, running

from edgemesh.model.policies import Path, Policy
from edgemesh.model.routes import DirectResponse, Route
from edgemesh.wire.sniff import SNIFF_LIMIT

pytestmark = pytest.mark.root

DEADLINE = 0.5
# Not reached while a test looks at what is peeked at, however slow the machine is.
FAR_DEADLINE = 100.0
# Whatever is found out: the bytes are looked at here, not the path that is chosen by them.
RELAY = Policy(path=Path.RELAY)
REQUEST = b"GET / HTTP/1.1\r\nHost: Shop.default\r\n\r\n"


def client_hello() -> bytes:
    """The bytes that Python's ssl sends first."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="shop.default")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


async def in_pieces(world: World, client: Peer, data: bytes, pieces: int) -> None:
    """Each piece is looked at before the next comes, and the waiting for it does not spin."""
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        await client.send(data[start : start + size])
        await world.comes_to_rest()


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize(
    ("words", "protocol", "name"),
    [
        (REQUEST[:18], "http", ""),
        (REQUEST, "http", "shop.default"),
        (client_hello(), "tls", "shop.default"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", ""),
        (b"\x00\x01\x02 something else", "opaque", ""),
    ],
    ids=["request line", "request", "TLS", "HTTP/2", "unknown"],
)
async def test_peeking_waits_for_split_words_and_passes_them_on_whole(
    words: bytes, protocol: str, name: str, pieces: int
) -> None:
    async with running(peek="always", peek_deadline_seconds=FAR_DEADLINE) as world:
        server = world.serve()
        world.service(server.endpoint, policy=RELAY)
        client = await world.call()
        await in_pieces(world, client, words, pieces)
        endpoint = await server.accept()
        assert await endpoint.receive(len(words)) == words
        await endpoint.send(b"and so on")
        assert await client.receive(9) == b"and so on"
        client.reset()
        report = await world.report()
        assert report.application_protocol == protocol
        assert report.server_name in {name, ""}
        if pieces == 1:
            assert report.server_name == name


async def test_after_peeking_each_byte_is_reported_at_once_again() -> None:
    async with running(peek="always", peek_deadline_seconds=FAR_DEADLINE) as world:
        server = world.serve()
        world.service(server.endpoint, policy=RELAY)
        client = await world.call()
        await in_pieces(world, client, REQUEST, 3)
        endpoint = await server.accept()
        assert await endpoint.receive(len(REQUEST)) == REQUEST
        await client.send(b"x")
        assert await endpoint.receive(1) == b"x"


@pytest.mark.parametrize("said", [b"", b"GET / HT"], ids=["nothing", "half a word"])
async def test_who_stays_silent_is_opaque_after_the_deadline(said: bytes) -> None:
    async with running(peek="always") as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        await client.send(said)
        await world.until(lambda: world.plane.flows)
        await world.comes_to_rest()
        world.skip(DEADLINE)
        endpoint = await server.accept()
        # A server that speaks first is heard from then on.
        await endpoint.send(b"220 ready")
        assert await client.receive(9) == b"220 ready"
        assert await endpoint.receive(len(said)) == said
        client.reset()
        assert (await world.report()).application_protocol == "opaque"


async def test_who_closes_its_half_before_the_deadline_is_not_waited_for() -> None:
    async with running(peek="always", peek_deadline_seconds=FAR_DEADLINE) as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        await client.send(b"GET")
        client.half_close()
        endpoint = await server.accept()
        assert await endpoint.receive_all() == b"GET"
        await endpoint.send(b"?")
        assert await client.receive(1) == b"?"


async def test_without_peeking_the_first_bytes_that_pass_name_the_protocol() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await client.send(REQUEST)
        assert await endpoint.receive(len(REQUEST)) == REQUEST
        client.reset()
        report = await world.report()
        assert (report.application_protocol, report.server_name) == ("http", "shop.default")


async def test_without_peeking_a_silent_client_is_connected_at_once() -> None:
    async with running() as world:
        _client, _endpoint = await world.connected()


@pytest.mark.parametrize("peek", ["needed", "always"])
async def test_what_the_service_declares_holds_whatever_is_said(peek: str) -> None:
    async with running(peek=peek) as world:
        server = world.serve()
        world.service(server.endpoint, application_protocol="grpc", policy=RELAY)
        client = await world.call()
        endpoint = await server.accept()
        await client.send(REQUEST)
        assert await endpoint.receive(len(REQUEST)) == REQUEST
        client.reset()
        assert (await world.report()).application_protocol == "grpc"


async def test_a_first_line_of_a_million_bytes_is_opaque_and_arrives_whole() -> None:
    async with running(peek="always") as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        line = b"GET /" + b"a" * 1_000_000
        assert len(line) > SNIFF_LIMIT
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, line)
            endpoint = await server.accept()
            assert await endpoint.receive(len(line)) == line
        client.reset()
        assert (await world.report()).application_protocol == "opaque"


async def test_who_speaks_byte_by_byte_costs_a_turn_each_and_disturbs_nobody() -> None:
    async with running(peek="always", peek_deadline_seconds=FAR_DEADLINE) as world:
        server = world.serve()
        world.service(server.endpoint)
        slow = await world.call()
        await world.until(lambda: world.plane.flows)
        await world.comes_to_rest()
        before = world.plane.reactor.turns
        for byte in b"GET / HTTP":
            await slow.send(bytes([byte]))
            await world.comes_to_rest()
        assert world.plane.reactor.turns - before <= 10
        quick = await world.call()
        await quick.send(REQUEST)
        endpoint = await server.accept()
        assert await endpoint.receive(len(REQUEST)) == REQUEST


async def test_a_service_without_endpoints_refuses_without_a_peek() -> None:
    async with running(peek="always") as world:
        world.service()
        await world.call_in_vain()
        assert (await world.report()).reason == "no-endpoint"


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HT"], ids=["all", "a letter", "some words"])
async def test_where_requests_matter_an_undeclared_protocol_is_found_out_and_served_as_http(
    said: bytes,
) -> None:
    async with running(peek_deadline_seconds=FAR_DEADLINE) as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(path=Path.HTTP))
        client = await world.call()
        if said:
            await client.send(said)
            await world.comes_to_rest()
        await client.send(REQUEST[len(said) :])
        endpoint = await server.accept()
        assert await endpoint.receive(len(REQUEST)) == REQUEST
        client.reset()
        report = await world.report()
        assert (report.application_protocol, report.path) == ("http", "http")


async def test_a_service_that_has_routes_and_no_endpoints_of_its_own_is_served_as_http() -> None:
    async with running(peek_deadline_seconds=FAR_DEADLINE) as world:
        world.service(routes=(Route("answer", direct=DirectResponse(200, "here")),))
        client = await world.call()
        await client.send(REQUEST)
        assert (await client.receive(15)).startswith(b"HTTP/1.1 200")
        client.reset()
        assert (await world.report()).application_protocol == "http"
