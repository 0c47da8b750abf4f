"""Requests over the quota are answered 429 by the agent, in their turn, and the flow goes on."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import trio
from observed_fixtures import (
    OBSERVED,
    Observing,
    Programs,
    exchange,
    observing,
    open_programs,
    request,
    response,
)
from plane_fixtures import Peer

from edgemesh.model.meters import by_class
from edgemesh.model.policies import Policy, Quota

pytestmark = pytest.mark.root

SECONDS = 3.0
ENOUGH = 100
RATE = 100.0
BURST = 30
LENGTH = len(response())
# One request, and none that passes by itself while a test lasts, however long it stands still.
ONE = Quota(0.001, 1)
ONE_AGAIN_SECONDS = 1000


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with open_programs() as made:
        yield made


def limited(quota: Quota = ONE) -> Policy:
    return replace(OBSERVED, client_quota=quota)


async def answer_all(endpoint: Peer, asked: int) -> None:
    """Answer requests of one length until the client goes away."""
    while True:
        with trio.fail_after(20):
            if not await endpoint.sock.recv(asked):
                return
        await endpoint.send(response())


async def read_answer(client: Peer) -> tuple[bytes, bytes]:
    """The head and the body of what the client is answered, whoever does it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.receive(1)
    [length] = [
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length")
    ]
    return head, await client.receive(length)


async def ask(client: Peer, asked: bytes) -> bytes:
    """The head of the answer to one request."""
    await client.send(asked)
    head, _ = await read_answer(client)
    return head


async def test_a_request_over_quota_is_told_why_and_when_to_come_again(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        began = time.monotonic()
        await exchange(client, endpoint, request(), response())
        head = await ask(client, request())
        took = time.monotonic() - began
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"x-edgemesh-reason: quota\r\n" in head
        [wait] = re.findall(rb"\r\nretry-after: (\d+)\r\n", head)
        assert ONE_AGAIN_SECONDS - took <= int(wait) <= ONE_AGAIN_SECONDS
        refusals = plane.world.plane.metrics.refusals.by_reason
        assert refusals == {"quota": 1}


async def test_the_flow_goes_on_after_a_refusal(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        for _ in range(3):
            await exchange(client, endpoint, request(), response())
            assert (await ask(client, request())).startswith(b"HTTP/1.1 429 ")
            plane.fill_buckets()
        client.close()
        endpoint.close()
        report = await plane.world.report()
        assert (report.requests, report.refused_requests, report.unobserved) == (3, 3, "")


@pytest.mark.parametrize("body", [b"", b"b" * 10, b"b" * 200_000])
async def test_what_is_refused_does_not_reach_the_endpoint(programs: Programs, body: bytes) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        refused = request("/refused", "POST", body)
        assert (await ask(client, refused)).startswith(b"HTTP/1.1 429 ")
        plane.fill_buckets()
        await exchange(client, endpoint, request("/next"), response())
        assert plane.unobserved == {}


async def test_a_refused_head_has_no_body_in_its_answer(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        await client.send(request(method="HEAD"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await client.receive(1)
        plane.fill_buckets()
        await exchange(client, endpoint, request("/next"), response())


async def test_a_refused_request_may_come_in_pieces(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        refused = request("/refused", "POST", b"body of it")
        for at in range(len(refused)):
            await client.send(refused[at : at + 1])
            await trio.sleep(0.0005)
        head, _ = await read_answer(client)
        assert head.startswith(b"HTTP/1.1 429 ")
        plane.fill_buckets()
        await exchange(client, endpoint, request("/next"), response())
        assert plane.unobserved == {}


async def test_what_is_pipelined_behind_a_refusal_is_answered_after_it(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        await client.send(request("/refused") + request("/next"))
        head, _ = await read_answer(client)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert await endpoint.receive(len(request("/next"))) == request("/next")
        await endpoint.send(response())
        assert await client.receive(LENGTH) == response()
        assert plane.unobserved == {"pipelined": 1}


async def test_a_refusal_waits_until_the_answer_before_it_is_sent(programs: Programs) -> None:
    # More than the client's socket takes, and little enough to be with the agent as a whole.
    large = response(random.Random(3).randbytes(100_000))
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited(), receive=4096)
        await client.send(request())
        await endpoint.receive(len(request()))
        await endpoint.send(large)
        await plane.world.until(lambda: by_class(plane.meter.responses) == {"2xx": 1})
        await client.send(request())
        await plane.world.comes_to_rest()
        assert await client.receive(len(large)) == large
        head, _ = await read_answer(client)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert plane.unobserved == {}


async def test_a_request_that_cannot_be_read_to_its_end_ends_the_flow(programs: Programs) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        head = await ask(client, b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"connection: close" in head
        assert await client.receive_all() == b""
        assert plane.unobserved == {"unknown": 1}


async def test_a_client_that_resets_leaves_no_refused_request_to_the_endpoint(
    programs: Programs,
) -> None:
    async with observing(programs) as plane:
        client, endpoint = await plane.connected(limited())
        await exchange(client, endpoint, request(), response())
        await client.send(request("/refused", "POST", b"b" * 10)[:-1])
        client.reset()
        assert await endpoint.receive_until_reset() == b""


async def test_as_many_requests_pass_as_the_bucket_holds(programs: Programs) -> None:
    async with observing(programs) as plane:
        server = plane.serve(limited(Quota(RATE, BURST)))
        passed = 0
        refused_at: list[float] = []
        async with trio.open_nursery() as nursery:
            clients = []
            for _ in range(4):
                clients.append(await plane.world.call())
                nursery.start_soon(answer_all, await server.accept(), len(request()))
            began = time.monotonic()

            async def call(client: Peer) -> None:
                nonlocal passed
                # However slow the machine is, the bucket has to be overrun.
                while time.monotonic() < began + SECONDS or len(refused_at) <= ENOUGH:
                    asked_at = time.monotonic()
                    if (await ask(client, request())).startswith(b"HTTP/1.1 200"):
                        passed += 1
                    else:
                        refused_at.append(asked_at)
                client.close()

            async with trio.open_nursery() as callers:
                for client in clients:
                    callers.start_soon(call, client)
            took = time.monotonic() - began
        assert len(refused_at) > ENOUGH
        most = BURST + RATE * took
        assert 0.98 * least_that_passes(refused_at) <= passed <= 1.02 * most
        assert by_class(plane.meter.responses) == {"2xx": passed}
        assert _refusals(plane) == len(refused_at)
        assert plane.unobserved == {}


def least_that_passes(refused_at: list[float]) -> float:
    """How many requests the bucket gives at least to who asks so often that it refuses then.

    It is empty whenever it refuses. When nobody has asked for long, for the machine stood still,
    it was full meanwhile, and got no fuller.
    """
    gaps = [after - before for before, after in pairwise(sorted(refused_at))]
    return BURST + sum(min(RATE * gap, BURST) for gap in gaps)


def _refusals(plane: Observing) -> int:
    return plane.world.plane.metrics.refusals.by_reason["quota"]
