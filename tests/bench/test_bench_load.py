"""The load generator, on loopback in a namespace of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import trio

from bench.endpoints import StreamEndpoints
from bench.loads import Outcome, StreamLoad, Timing, compile_load, percentile
from bench.measure import Meter
from bench.processes import started
from bench.topology import Address, Service
from edgemesh.lab import network

pytestmark = pytest.mark.root

# Long enough that something is done in it also where all stand still for a while.
TIMING = Timing(warmup=0.05, seconds=1.0)
ECHO = Service("echo", Address("127.0.0.1", 9000), (Address("127.0.0.1", 9000),))
SINK = Service("sink", Address("::1", 9001), (Address("::1", 9001),))


@pytest.fixture
async def program(tmp_path: Path) -> Path:
    return await compile_load(tmp_path)


@pytest.fixture
async def namespace(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = f"benchload{os.getpid()}"
    network.add_namespace(name)
    yield name
    network.delete_namespace(name)


@pytest.mark.parametrize("kind", ["rr", "crr"])
async def test_every_operation_has_one_latency_and_64_bytes(
    program: Path, namespace: str, kind: Literal["rr", "crr"]
) -> None:
    meter = Meter(os.getpid())
    async with StreamEndpoints(program, "echo", ECHO).serving(namespace, program.parent):
        load = StreamLoad(program, kind, 4)
        outcome = await load.run(namespace, ECHO.endpoints, TIMING, meter)
    assert outcome.operations > 0
    assert outcome.errors == 0
    assert sum(count for _, count in outcome.latency) == outcome.operations
    assert outcome.bytes == 64 * outcome.operations
    assert meter.usage is not None
    assert meter.usage.rss_bytes


async def test_a_bulk_load_agrees_with_the_sink_about_the_total(
    program: Path, namespace: str
) -> None:
    async with StreamEndpoints(program, "sink", SINK).serving(namespace, program.parent):
        load = StreamLoad(program, "bulk", 2)
        outcome = await load.run(namespace, SINK.endpoints, TIMING, Meter())
    assert outcome.bytes > 0
    assert outcome.errors == 0


async def test_a_total_that_nobody_confirms_is_an_error(program: Path, namespace: str) -> None:
    async with StreamEndpoints(program, "echo", ECHO).serving(namespace, program.parent):
        assert not await StreamEndpoints(program, "sink", ECHO).answers(namespace, ECHO.endpoints)


class Beginning(Meter):
    """Lets a test know that the measured time has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = trio.Event()

    def start(self) -> None:
        super().start()
        self.begun.set()


async def test_broken_connections_are_counted_and_opened_anew(
    program: Path, namespace: str, tmp_path: Path
) -> None:
    argv = [str(program), "echo", "127.0.0.1", "9000"]
    meter = Beginning()
    outcomes: list[Outcome] = []
    finished = trio.Event()

    async def run() -> None:
        load, timing = StreamLoad(program, "rr", 1), Timing(warmup=0.1, seconds=3.0)
        outcomes.append(await load.run(namespace, ECHO.endpoints, timing, meter))
        finished.set()

    async with trio.open_nursery() as nursery:
        async with started(namespace, argv, tmp_path / "log", stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            assert await first.stdout.receive_some() == b"listening\n"
            nursery.start_soon(run)
            await meter.begun.wait()
            first.send_signal(signal.SIGKILL)
            await first.wait()
        async with StreamEndpoints(program, "echo", ECHO).serving(namespace, program.parent):
            await finished.wait()
    assert outcomes[0].errors > 0
    assert outcomes[0].operations > 0


async def test_a_rate_is_kept_and_a_stall_delays_all_that_was_due_meanwhile(
    program: Path, namespace: str, tmp_path: Path
) -> None:
    argv = [str(program), "echo", "127.0.0.1", "9000"]
    meter = Beginning()

    async def stall(server: trio.Process) -> None:
        await meter.begun.wait()
        server.send_signal(signal.SIGSTOP)
        await trio.sleep(1.0)
        server.send_signal(signal.SIGCONT)

    async with (
        started(namespace, argv, tmp_path / "log", stdout=subprocess.PIPE) as server,
        trio.open_nursery() as nursery,
    ):
        assert server.stdout is not None
        assert await server.stdout.receive_some() == b"listening\n"
        nursery.start_soon(stall, server)
        load, timing = StreamLoad(program, "rr", 4, rate=1000), Timing(warmup=0.1, seconds=2.0)
        began = trio.current_time()
        outcome = await load.run(namespace, ECHO.endpoints, timing, meter)
        lasted = trio.current_time() - began
    assert outcome.errors == 0
    assert outcome.operations == pytest.approx(2000, abs=1)
    # Half of all were due while nobody answered for a second, or longer where the machine stands
    # still; timed from when they were sent it would be four.
    assert 0.45 < percentile(outcome.latency, 0.75) < lasted


async def test_what_is_due_and_never_answered_is_an_error(program: Path, namespace: str) -> None:
    async with StreamEndpoints(program, "deaf", ECHO).serving(namespace, program.parent):
        load, timing = StreamLoad(program, "rr", 2, rate=100), Timing(warmup=0.1, seconds=0.2)
        outcome = await load.run(namespace, ECHO.endpoints, timing, Meter())
    assert outcome.operations == 0
    assert outcome.errors == pytest.approx(20, abs=1)
