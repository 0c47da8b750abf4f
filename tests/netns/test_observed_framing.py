"""Bytes of observed flows arrive as they were sent, whatever they say and however they come."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest
import trio
from observed_fixtures import Programs, exchange, observing, open_programs, request, response
from plane_fixtures import Peer

from edgemesh.model.meters import by_class

pytestmark = pytest.mark.root

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with open_programs() as made:
        yield made


def chunked(body: bytes, rng: random.Random) -> bytes:
    parts = [CHUNKED]
    while body:
        size = rng.randint(1, len(body))
        parts.append(b"%x\r\n%s\r\n" % (size, body[:size]))
        body = body[size:]
    return b"".join((*parts, b"0\r\n\r\n"))


async def send_in_pieces(peer: Peer, data: bytes, rng: random.Random) -> None:
    while data:
        size = rng.choice((1, 2, 3, 7, 40, 300, 5000, 70_000))
        await peer.send(data[:size])
        data = data[size:]
        if rng.random() < 0.3:
            await trio.sleep(0.0005)


async def test_heads_and_bodies_in_pieces_are_counted_as_one(programs: Programs) -> None:
    rng = random.Random(11)
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        for number in range(60):
            body = rng.randbytes(rng.choice((0, 1, 50, 20_000)))
            asked = request(f"/{number}", "POST", body)
            size = rng.choice((0, 1, 100, 3000, 100_000))
            said = rng.randbytes(size)
            answer = chunked(said, rng) if rng.random() < 0.5 else response(said)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_in_pieces, client, asked, rng)
                assert await endpoint.receive(len(asked)) == asked
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_in_pieces, endpoint, answer, rng)
                assert await client.receive(len(answer)) == answer
        assert by_class(plane.meter.responses) == {"2xx": 60}
        assert plane.unobserved == {}


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_pipelined_arrives_whole_and_in_order(programs: Programs, seed: int) -> None:
    rng = random.Random(seed)
    asked = b"".join(
        request(f"/{number}", "POST", rng.randbytes(rng.randint(0, 5000))) for number in range(200)
    )
    said = b"".join(response(rng.randbytes(rng.randint(0, 30_000))) for _ in range(200))
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_pieces, client, asked, rng)
            nursery.start_soon(send_in_pieces, endpoint, said, rng)
            heard = await client.receive(len(said))
            got = await endpoint.receive(len(asked))
        assert hashlib.sha256(got).digest() == hashlib.sha256(asked).digest()
        assert hashlib.sha256(heard).digest() == hashlib.sha256(said).digest()
        assert sum(plane.unobserved.values()) == 1


async def test_a_websocket_upgrade_passes_and_ends_the_counting(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        await exchange(client, endpoint, UPGRADE, SWITCHED)
        for _ in range(20):
            await exchange(client, endpoint, b"\x81\x85frame", b"\x81\x05frame")
        assert by_class(plane.meter.responses) == {"1xx": 1}
        assert plane.unobserved == {"upgraded": 1}


async def test_informational_responses_are_no_answers(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        head = b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        await exchange(client, endpoint, head, b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange(client, endpoint, b"body", response())
        await exchange(client, endpoint, request(), response())
        assert by_class(plane.meter.responses) == {"2xx": 2}
        assert plane.unobserved == {}


async def test_a_response_until_the_end_is_counted_once(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        await exchange(client, endpoint, request(), b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 no")
        endpoint.half_close()
        assert await client.receive_all() == b""
        assert by_class(plane.meter.responses) == {"2xx": 1}


async def test_answers_to_head_have_no_body_whatever_they_say(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        await exchange(client, endpoint, request(method="HEAD"), head)
        await exchange(client, endpoint, request(), response())
        assert by_class(plane.meter.responses) == {"2xx": 2}
        assert plane.unobserved == {}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x03"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"),
        (b"GET / HTTP/1.1\nHost: web\n\n", response()),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", response()),
        (b"POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\na", response()),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\na", response()),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", response()),
        (request(), b"hello\r\n"),
        (
            request(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
        ),
        (request(), response() + response()),
    ],
)
async def test_what_is_not_known_passes_and_ends_the_counting(
    programs: Programs, asked: bytes, answer: bytes
) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected()
        for _ in range(3):
            await exchange(client, endpoint, asked, answer)
        assert sum(plane.unobserved.values()) == 1
