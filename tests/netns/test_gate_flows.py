"""What flows in the gate have in common with those that are relayed, and what they have not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from gate_fixtures import gated, open_gate
from plane_fixtures import Peer

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.model.flows import Ending, Mover

pytestmark = pytest.mark.root

ROUND_TRIPS = 200
BOTH = (Mover.RELAY, Mover.SOCKMAP)


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with open_gate() as made:
        yield made


async def test_the_kernel_moves_small_messages_and_the_agent_sleeps(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        await plane.world.comes_to_rest()
        before = plane.world.plane.reactor.turns
        for number in range(ROUND_TRIPS):
            said = b"%08d" % number
            await client.send(said)
            assert await endpoint.receive(8) == said
            await endpoint.send(said)
            assert await client.receive(8) == said
        assert plane.world.plane.reactor.turns == before


async def test_what_the_kernel_has_moved_is_in_the_report(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        await client.send(b"a" * 1000)
        await endpoint.receive(1000)
        await endpoint.send(b"b" * 3000)
        await client.receive(3000)
        client.close()
        endpoint.close()
        report = await plane.world.report()
        assert (report.bytes_sent, report.bytes_received) == (1001, 3001)
        assert report.movers == BOTH


async def test_flows_over_ipv6_are_moved(gate: Gate) -> None:
    async with gated(gate) as plane:
        server = plane.world.serve("::1")
        plane.world.service(server.endpoint)
        client = await plane.world.call("::1")
        endpoint = await server.accept()
        for _ in range(3):
            await client.send(b"ping")
            assert await endpoint.receive(4) == b"ping"
            await endpoint.send(b"pong")
            assert await client.receive(4) == b"pong"
        await plane.world.until(plane.inside)


async def test_an_end_of_stream_comes_after_the_last_byte(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        await client.send(b"l" * 100_000)
        client.half_close()
        assert await endpoint.receive_all() == b"l" * 100_000
        await endpoint.send(b"answer")
        endpoint.half_close()
        assert await client.receive_all() == b"answer"
        assert (await plane.world.report()).ending == Ending.CLOSED


async def test_the_other_way_goes_on_after_an_end_of_stream(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        endpoint.half_close()
        assert await client.receive_all() == b""
        for _ in range(10):
            await client.send(b"more")
            assert await endpoint.receive(4) == b"more"
        client.close()
        assert (await plane.world.report()).ending == Ending.CLOSED


async def test_a_client_s_reset_reaches_the_endpoint(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        client.reset()
        assert await endpoint.receive_until_reset() == b""
        assert (await plane.world.report()).ending == Ending.CLIENT_RESET


async def test_an_endpoint_s_reset_reaches_the_client(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        endpoint.reset()
        assert await client.receive_until_reset() == b""
        assert (await plane.world.report()).ending == Ending.ENDPOINT_RESET


async def test_a_reset_after_an_end_of_stream_is_passed_on(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        client.half_close()
        assert await endpoint.receive_all() == b""
        endpoint.reset()
        assert await client.receive_until_reset() == b""
        assert (await plane.world.report()).ending == Ending.ENDPOINT_RESET


async def test_a_flow_that_has_left_is_taken_in_again(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        for number in range(20):
            plane.leave(plane.inside())
            assert not plane.inside()
            said = b"%08d" % number
            await client.send(said)
            assert await endpoint.receive(8) == said
            await plane.world.until(plane.inside)


async def test_flows_go_on_by_the_relay_when_the_gate_is_no_longer_offered(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        plane.sockmap.stop()
        for _ in range(10):
            await client.send(b"relayed")
            assert await endpoint.receive(7) == b"relayed"
        assert not plane.inside()
        plane.sockmap.start()


async def test_silence_is_judged_by_what_the_kernel_moves(gate: Gate) -> None:
    async with gated(gate, tcp_idle_timeout_seconds=60.0) as plane:
        client, endpoint = await plane.connected()
        for _ in range(3):
            await client.send(b"still here")
            await endpoint.receive(10)
            plane.world.skip(61)
            await plane.world.deadlines_pass()
        assert not plane.world.reports
        plane.world.skip(61)
        assert await client.receive_until_reset() == b""
        assert (await plane.world.report()).ending == Ending.IDLE_TIMEOUT


async def test_an_endpoint_that_answers_in_the_gate_is_heard(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.world.connected()
        await client.send(b"?")
        await endpoint.receive(1)
        await plane.world.until(plane.inside)
        await endpoint.send(b"!")
        assert await client.receive(1) == b"!"
        (flow,) = plane.sockmap.members
        assert flow.attempt is not None
        assert not flow.attempt.heard
        plane.leave(plane.inside())
        assert flow.attempt.heard


async def test_an_urgent_byte_stays_in_its_place(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        await client.send(b"before")
        client.raw.send(b"!", socket.MSG_OOB)
        await client.send(b"after")
        assert await endpoint.receive(12) == b"before!after"


async def test_many_flows_are_moved_at_the_same_time(gate: Gate) -> None:
    async with gated(gate) as plane:
        server = plane.world.serve(backlog=128)
        plane.world.service(server.endpoint)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                client = await plane.world.call()
                nursery.start_soon(talk, number, client, await server.accept())


async def talk(number: int, client: Peer, endpoint: Peer) -> None:
    for turn in range(20):
        said = b"%04d %04d" % (number, turn)
        await client.send(said)
        assert await endpoint.receive(9) == said
        await endpoint.send(said)
        assert await client.receive(9) == said
