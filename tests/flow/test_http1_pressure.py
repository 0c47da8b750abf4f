"""HTTP/1 with peers that read slowly or not at all: the sender waits, and nothing is lost."""

from __future__ import annotations

import hashlib
import re

import trio
from http1_peers import OK, asked, call_http, called_http, failing, head_of
from plane_fixtures import PATIENCE_SECONDS, Peer, Server, World, running

from edgemesh.model.policies import Policy, Retries
from edgemesh.model.settings import HttpSettings

BIG = 24 * 1024 * 1024
SMALL_BUFFER = 16 * 1024


async def pour(peer: Peer, head: bytes, digest: list[str]) -> None:
    """Send a head and a big body that is not the same all over; its hash is put into ``digest``."""
    await peer.send(head)
    told = hashlib.sha256()
    for number in range(BIG // 65536):
        part = number.to_bytes(4, "big") * 16384
        told.update(part)
        await peer.send(part)
    digest.append(told.hexdigest())


async def test_a_big_response_waits_for_a_slow_client_and_arrives_whole() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve()
        client = await call_http(world, server)
        request = b"GET /big HTTP/1.1\r\nHost: web\r\n\r\n"
        await client.send(request)
        peer = await asked(server, request)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG
        digest: list[str] = []
        nursery.start_soon(pour, peer, head, digest)
        await world.comes_to_rest()
        assert not digest, "the endpoint could send everything though nobody has read"
        assert await client.receive(len(head)) == head
        got = hashlib.sha256(await client.receive(BIG)).hexdigest()
        await world.until(lambda: bool(digest))
        assert [got] == digest


async def kept_by_the_kernel(world: World, server: Server) -> int:
    """What the buffers hold of our sockets: that of the client's connection, and of the other."""
    ours = f"( sport = :{world.port} or dport = :{server.endpoint.port} )"
    shown = await trio.run_process(["ss", "-tnmHO", ours], capture_stdout=True)
    buffers = re.findall(rb"skmem:\(r(\d+),.*?,w(\d+)", shown.stdout)
    assert len(buffers) == 2
    return sum(int(received) + int(unsent) for received, unsent in buffers)


async def test_what_the_kernel_keeps_of_a_response_that_is_not_read_is_bounded() -> None:
    limit = 1 << 20
    async with running(flow_kernel_bytes=limit) as world, trio.open_nursery() as nursery:
        server = world.serve()
        client, peer = await called_http(world, server)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG
        digest: list[str] = []
        nursery.start_soon(pour, peer, head, digest)
        kept = 0
        with trio.fail_after(PATIENCE_SECONDS):
            while kept <= limit / 2:
                await world.comes_to_rest()
                kept = await kept_by_the_kernel(world, server)
        assert kept <= limit
        assert await client.receive(len(head)) == head
        got = hashlib.sha256(await client.receive(BIG)).hexdigest()
        await world.until(lambda: bool(digest))
        assert [got] == digest


async def test_a_big_upload_waits_for_a_slow_endpoint_and_arrives_whole() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve(receive=SMALL_BUFFER)
        client = await call_http(world, server)
        head = b"POST /big HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % BIG
        digest: list[str] = []
        nursery.start_soon(pour, client, head, digest)
        peer = await server.accept()
        await world.comes_to_rest()
        assert not digest, "the client could send everything though nobody has read"
        assert await peer.receive(len(head)) == head
        got = hashlib.sha256(await peer.receive(BIG)).hexdigest()
        await world.until(lambda: bool(digest))
        assert [got] == digest
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_a_client_that_sends_far_ahead_of_its_answers_has_to_wait() -> None:
    request = b"GET / HTTP/1.1\r\nHost: web\r\nX-Fill: %s\r\n\r\n" % (b"f" * 4000)
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        sent = client.send_what_fits(request * 5000)
        await world.comes_to_rest()
        sent += client.send_what_fits(request * 5000)
        await world.comes_to_rest()
        assert sent < len(request) * 5000
        peer = await asked(server, request)
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK
        assert await peer.receive(len(request)) == request


async def test_a_body_too_long_to_be_kept_is_not_sent_again() -> None:
    head = b"PUT /big HTTP/1.1\r\nHost: web\r\nContent-Length: 200000\r\n\r\n"
    async with running() as world:
        bad, good = world.serve(), world.serve()
        policy = Policy(retries=Retries(attempts=2, backoff_seconds=0.001))
        client = await call_http(world, bad, good, policy=policy)
        await client.send(head + bytes(200000))
        peer = await asked(bad, head)
        await peer.receive(200000)
        await peer.send(failing(503))
        assert await client.receive(len(failing(503))) == failing(503)


async def test_an_answer_before_the_end_of_an_upload_reaches_the_client() -> None:
    head = b"POST /big HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n"
    async with running() as world:
        world.linger(60.0)
        server = world.serve()
        client = await call_http(world, server)
        await client.send(head + bytes(1000))
        peer = await asked(server, head)
        await peer.receive(1000)
        await peer.send(failing(413))
        assert await client.receive(len(failing(413))) == failing(413)
        await client.send(bytes(5000))
        assert await client.receive_all() == b""


async def test_an_endpoint_may_think_for_minutes_before_it_answers() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        world.skip(HttpSettings().idle_timeout_seconds - 30)
        await world.deadlines_pass()
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_an_endpoint_that_says_nothing_for_too_long_is_given_up_and_the_client_told() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        world.skip(HttpSettings().idle_timeout_seconds + 1)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (504, "timeout")
        assert await peer.receive_until_reset() == b""


async def test_events_far_apart_keep_their_response_open() -> None:
    event = b"3\r\n:\n\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        await peer.send(head)
        assert await client.receive(len(head)) == head
        for _ in range(4):
            world.skip(HttpSettings().idle_timeout_seconds - 30)
            await world.deadlines_pass()
            await peer.send(event)
            assert await client.receive(len(event)) == event
