"""What accepting promises: no loops, no more than the limits, and no spin when all runs out."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
import trio
from plane_fixtures import running

from edgemesh.kernel.sockets import tcp_listener
from edgemesh.model.services import Endpoint
from edgemesh.proxy.accept import TcpAcceptor

pytestmark = pytest.mark.root


async def test_a_call_of_the_listener_itself_is_refused() -> None:
    async with running() as world:
        await world.call_in_vain()
        report = await world.report()
        assert (report.ending, report.reason) == ("refused", "self-destination")


async def test_a_call_of_the_listener_itself_is_refused_in_redirect_mode_too() -> None:
    """Nothing was translated, so the kernel knows of no destination before ours."""
    async with running(lambda _client, _local: None) as world:
        for address in ("127.0.0.1", "::1"):
            await world.call_in_vain(address)
        await world.until(lambda: world.plane.metrics.refusals.by_reason == {"self-destination": 2})


async def test_a_service_whose_endpoint_is_our_own_listener_does_not_call_itself_for_ever() -> None:
    async with running() as world:
        for address in ("127.0.0.1", "::1"):
            world.service(Endpoint(address, world.port))
            await world.call_in_vain(address)
        await world.until(lambda: len(world.reports) == 2)
        assert {report.ending for report in world.reports} == {"connect-failed"}
        assert {report.reason.split(": ")[1] for report in world.reports} == {
            "this is edgemesh's own listener"
        }


async def test_after_our_own_listener_the_next_endpoint_is_tried() -> None:
    async with running() as world:
        server = world.serve()
        world.service(Endpoint("127.0.0.1", world.port), server.endpoint)
        await world.call()
        await server.accept()


async def test_a_call_to_an_address_without_a_service_is_refused() -> None:
    """As when a Service is deleted right after the rules have diverted a call of it."""
    async with running() as world:
        with tcp_listener(socket.AF_INET, 0, transparent=False) as listener:
            acceptor = TcpAcceptor(world.plane, listener, redirected=False)
            acceptor.start()
            await world.call_in_vain(port=listener.getsockname()[1])
            assert (await world.report()).reason == "no-service"
            world.plane.reactor.unregister(listener.fileno())


async def test_connections_beyond_the_limit_are_reset_and_counted_and_the_others_go_on() -> None:
    async with running(max_connections=2) as world:
        server = world.serve()
        world.service(server.endpoint)
        clients = [await world.call() for _ in range(2)]
        endpoints = [await server.accept() for _ in range(2)]
        for _ in range(3):
            await world.call_in_vain()
        assert world.plane.metrics.refusals.by_reason == {"limit": 3}
        await clients[1].send(b"still here")
        assert await endpoints[1].receive(10) == b"still here"
        # One ends, and there is room again.
        clients[0].close()
        endpoints[0].close()
        await world.report()
        await world.call()
        await server.accept()


async def test_a_flood_of_connections_is_accepted_whole() -> None:
    async with running() as world:
        server = world.serve(backlog=512)
        world.service(server.endpoint)
        clients = [await world.call() for _ in range(200)]
        await world.until(lambda: len(world.plane.flows) == 200)
        for client in clients:
            client.reset()
        await world.until(lambda: len(world.reports) == 200)


@pytest.mark.interpreted
async def test_a_bug_while_a_flow_begins_ends_this_flow_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        reactor = world.plane.reactor
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as logs:
            broken.setattr(world.plane.decider, "decide", lambda _facts: 1 / 0)
            await world.call_in_vain()
        report = await world.report()
        assert (report.ending, report.reason) == ("error", "ZeroDivisionError")
        assert len(logs) == reactor.bugs == 1
        await world.call()
        await server.accept()
        reactor.bugs = 0


def test_accepting_pauses_while_descriptors_run_out_and_goes_on_afterwards() -> None:
    """In a process of its own, whose limit of descriptors can be lowered."""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tests.parent), str(tests)))},
    )
    assert done.stdout.split()[-1:] == ["recovered"], done.stdout + done.stderr


async def exhaust() -> None:
    async with running() as world:
        server = world.serve(backlog=64)
        world.service(server.endpoint)
        clients = [await world.call() for _ in range(6)]
        endpoints = [await server.accept() for _ in range(6)]
        await world.comes_to_rest()
        more = [world.client() for _ in range(3)]
        lowest_free = os.dup(0)
        os.close(lowest_free)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        with structlog.testing.capture_logs() as logs:
            for peer in more:
                await peer.sock.connect(("127.0.0.1", world.port))
            await world.until(lambda: logs)
            await world.comes_to_rest()
            # Flows that there are go on meanwhile.
            await clients[0].send(b"still here")
            assert await endpoints[0].receive(10) == b"still here"
        # Once, not with each new try.
        assert [log["event"] for log in logs] == ["accepting pauses"]
        for peer in clients[1:]:
            peer.reset()
        await world.until(lambda: len(world.reports) == 5)
        for peer in endpoints[1:]:
            peer.close()
        late = [await server.accept() for _ in more]
        for peer in more:
            await peer.send(b"late")
        assert [await peer.receive(4) for peer in late] == [b"late"] * len(more)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    trio.run(exhaust)
    sys.stdout.write("recovered\n")
