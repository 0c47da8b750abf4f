"""How the data plane starts, changes its mind and ends."""

from __future__ import annotations

import socket
import time
import tracemalloc
from dataclasses import replace

import pytest
import structlog
import trio
from plane_fixtures import PATIENCE_SECONDS, World, free_port, open_descriptors, running

from edgemesh.model.errors import OperatorError
from edgemesh.model.services import PodIdentity, Snapshot
from edgemesh.model.settings import NetfilterSettings, ProxySettings
from edgemesh.proxy import plane as plane_module
from edgemesh.proxy.plane import Plane

pytestmark = pytest.mark.root


async def refuses(world: World) -> bool:
    with trio.socket.socket() as sock:
        try:
            await sock.connect(("127.0.0.1", world.port))
        except ConnectionRefusedError:
            return True
        return False


async def test_draining_closes_the_listeners_at_once_and_lets_flows_finish() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        client, endpoint = await world.connected()
        over = trio.Event()

        async def drain() -> None:
            await world.plane.drain(3600)
            over.set()

        nursery.start_soon(drain)
        await world.until(lambda: world.plane.draining)
        assert await refuses(world)
        await client.send(b"the rest")
        client.half_close()
        assert await endpoint.receive_all() == b"the rest"
        assert not over.is_set()
        endpoint.close()
        with trio.fail_after(PATIENCE_SECONDS):
            await over.wait()
        assert (await world.report()).ending == "closed"


async def test_draining_cuts_what_is_left_after_the_grace() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await client.send(b"x")
        assert await endpoint.receive(1) == b"x"
        with trio.fail_after(PATIENCE_SECONDS):
            await world.plane.drain(0.01)
    assert [report.ending for report in world.reports] == ["drain"]


async def test_draining_without_flows_takes_no_time_also_the_second_time() -> None:
    async with running() as world:
        with trio.fail_after(PATIENCE_SECONDS):
            await world.plane.drain(3600)
            assert await refuses(world)
            await world.plane.drain(3600)


async def test_draining_still_takes_what_was_connected_before_it() -> None:
    """The kernel has told these clients that they are connected."""
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve()
        world.service(server.endpoint)
        waiting = world.client().raw
        # No await, so no turn, between the connect and the drain.
        waiting.setblocking(True)
        waiting.connect(("127.0.0.1", world.port))
        nursery.start_soon(world.plane.drain, 3600)
        endpoint = await server.accept()
        waiting.sendall(b"hello")
        assert await endpoint.receive(5) == b"hello"
        waiting.close()
        endpoint.close()
        assert (await world.report()).ending == "closed"


async def test_a_flow_refused_while_draining_begins_does_not_end_it_for_the_others() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve("::1")
        world.service_at(("::1", world.port), server.endpoint)
        # Connected, but not accepted yet: no await, so no turn, before the drain.
        refused, served = world.client().raw, world.client("::1").raw
        for sock, address in ((refused, "127.0.0.1"), (served, "::1")):
            sock.setblocking(True)
            sock.connect((address, world.port))
        over = trio.Event()

        async def drain() -> None:
            await world.plane.drain(3600)
            over.set()

        nursery.start_soon(drain)
        endpoint = await server.accept()
        served.sendall(b"hello")
        assert await endpoint.receive(5) == b"hello"
        await world.comes_to_rest()
        assert not over.is_set()
        served.close()
        endpoint.close()
        await world.until(lambda: len(world.reports) == 2)
        assert [report.ending for report in world.reports] == ["refused", "closed"]


async def test_a_deadline_set_while_draining_begins_then_and_not_at_the_last_event() -> None:
    # A time that does not pass by itself in between.
    timeout = 100.0
    async with (
        running(connect_timeout_seconds=timeout) as world,
        trio.open_nursery() as nursery,
    ):
        full = await world.full()
        world.service(full)
        waiting = world.client().raw
        waiting.setblocking(True)
        world.skip(1000)
        waiting.connect(("127.0.0.1", world.port))
        nursery.start_soon(world.plane.drain, 3600)
        await world.until(lambda: world.plane.draining)
        await world.deadlines_pass()
        assert len(world.plane.flows) == 1
        world.skip(timeout)
        assert (await world.report()).ending == "connect-timeout"


async def test_cancelling_resets_and_reports_all_flows_and_leaves_nothing_open() -> None:
    async with running(connect_timeout_seconds=100.0) as world:
        pairs = [await world.connected() for _ in range(5)]
        full = await world.full()
        world.service(full)
        await world.call()
        await world.until(lambda: len(world.plane.flows) == 6)
        world.plane.swap(Snapshot())
        for client, endpoint in pairs:
            await client.send(b"x")
            assert await endpoint.receive(1) == b"x"
    # `running` has checked descriptors and counts.
    assert [report.ending for report in world.reports] == ["drain"] * 6


async def test_the_next_connection_goes_by_the_new_snapshot_and_the_old_ones_stay() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        _, other_endpoint = await world.connected()
        assert other_endpoint.address != endpoint.address
        await client.send(b"still here")
        assert await endpoint.receive(10) == b"still here"


async def test_an_endpoint_that_was_removed_gets_no_new_connection() -> None:
    async with running() as world:
        kept, removed = world.serve(), world.serve()
        world.service(kept.endpoint, removed.endpoint)
        for server in (kept, removed):
            await world.call()
            await server.accept()
        world.service(kept.endpoint)
        for _ in range(4):
            await world.call()
            await kept.accept()
        await world.comes_to_rest()
        with pytest.raises(BlockingIOError):
            removed.sock._sock.accept()


async def test_the_report_names_the_callers_pod_by_its_address() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        snapshot = world.plane.decider.snapshot
        world.plane.swap(replace(snapshot, pods={"127.0.0.1": PodIdentity("default", "shop")}))
        client = await world.call()
        await server.accept()
        client.reset()
        assert (await world.report()).client_pod == "default/shop"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_port_that_is_taken_is_an_operators_error_and_nothing_stays_open(
    kind: socket.SocketKind,
) -> None:
    ports = {
        "tcp_port": free_port(socket.SOCK_STREAM),
        "udp_port": free_port(socket.SOCK_DGRAM),
    }
    with socket.socket(socket.AF_INET, kind) as other:
        # As another agent's listener would be.
        other.bind(("0.0.0.0", 0))
        taken = other.getsockname()[1]
        ports["tcp_port" if kind == socket.SOCK_STREAM else "udp_port"] = taken
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.SOCK_STREAM:
            other.listen()
        before = open_descriptors()
        plane = Plane(replace(ProxySettings(), **ports), NetfilterSettings(), print)
        with pytest.raises(OperatorError, match=f"cannot listen on .*{taken}.*already in use"):
            await plane.serve()
        assert open_descriptors() == before


async def test_without_ipv6_in_the_kernel_ipv4_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_module, "ipv6_available", lambda: False)
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        await world.call()
        await server.accept()
        with pytest.raises(ConnectionRefusedError):
            await world.call("::1")


async def test_a_bug_after_the_end_of_a_flow_does_not_end_it_twice() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await client.send(b"x")
        assert await endpoint.receive(1) == b"x"
        plane = world.plane
        with structlog.testing.capture_logs() as logs:
            plane.reports._write = lambda report: [world.reports.append(report), 1 / 0]
            client.reset()
            assert await endpoint.receive_until_reset() == b""
            await world.until(lambda: logs)
        plane.reports._write = world.reports.append
        assert (await world.report()).ending == "client-reset"
        assert (plane.reactor.bugs, plane.open_flows) == (1, 0)
        plane.reactor.bugs = 0


@pytest.mark.interpreted
async def test_an_idle_flow_takes_less_than_two_kibibytes_of_ours() -> None:
    """Beside what the kernel needs for its two sockets."""
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        await world.call()
        await server.accept()
        tracemalloc.start(8)
        try:
            pairs = [(await world.call(), await server.accept()) for _ in range(100)]
            for client, endpoint in pairs:
                await client.send(b"GET / HTTP/1.1\r\n\r\n")
                await endpoint.receive(18)
            ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/edgemesh/proxy/*")
            ours.all_frames = True
            taken = tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename")
        finally:
            tracemalloc.stop()
        assert 200 < sum(each.size for each in taken) / len(pairs) < 2048


async def test_idle_flows_need_no_time() -> None:
    """With deadlines set there is a tick every 50 ms, and otherwise nothing."""
    async with running() as world:
        for _ in range(20):
            await world.connected()
        await world.comes_to_rest()
        began, turns = time.process_time(), world.plane.reactor.turns
        await trio.sleep(0.5)
        assert world.plane.reactor.turns == turns
        assert time.process_time() - began < 0.1
