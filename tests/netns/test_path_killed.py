"""What becomes of connections, and of what was attached, when an agent is killed or ended."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from queue import Queue

import pytest
import trio
from bpf_mesh import BpfMesh, new_bpf_mesh
from interception_lab import PORT, SERVER, SERVICE, call
from lab_homes import wait_for
from mesh import Mesh, web, web_and_bystander
from mesh_servers import TcpServer
from path_crowds import crowds
from path_talks import Place

from edgemesh.kernel.bpf.foreign import cgroup_hooks, foreign_at_cgroup
from edgemesh.model.flows import Mover
from edgemesh.model.policies import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

CONNECTIONS = 20
VERSIONS = (4, 6)
MEBIBYTE = 1 << 20
PATIENCE_SECONDS = 30.0


@pytest.fixture
def ready() -> Iterator[BpfMesh]:
    """A mesh whose agent has the kernel balance calls of the Service."""
    with new_bpf_mesh() as made:
        made.start()
        made.mesh.apply(*web("tcp"))
        assert made.wait_for_paths()[Path.CONNECT] == "available", made.mesh.log
        yield made


def attached(mesh: BpfMesh) -> Counter[str]:
    """Programs of agents, by hook, at the cgroup of this one and those above: the host's own."""
    programs = foreign_at_cgroup(mesh.cgroup, cgroup_hooks(), own=())
    return Counter(program.hook for program in programs if program.name.startswith("mesh_"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", [Mesh.kill, Mesh.stop])
def test_connections_that_the_kernel_balanced_outlive_the_agent(
    ready: BpfMesh, end: Callable[[Mesh], None], version: int
) -> None:
    mesh = ready.mesh
    place = Place(SERVICE[version], (SERVER[version], 8080))

    async def play() -> None:
        async with crowds(mesh.network, place, CONNECTIONS, ready.cgroup) as both:
            await both.meet()
            status = await trio.to_thread.run_sync(mesh.status)
            assert status["flows"]["total"] == 0
            await trio.to_thread.run_sync(end, mesh)
            await both.finish(upwards=True)
            await both.finish(upwards=False)

    trio.run(play)


def test_calls_go_as_if_there_had_been_no_agent_once_nobody_confirms_the_maps(
    ready: BpfMesh,
) -> None:
    mesh = ready.mesh

    def who() -> str:
        return ready.call(mesh.network.pod, SERVICE[4], PORT)[1]

    with web_and_bystander(mesh):
        assert who() == "endpoint"
        mesh.kill()
        wait_for(lambda: who() == "bystander", "the kernel leaves calls alone")


def test_nothing_is_attached_twice_by_the_next_agent_and_nothing_is_left_by_it(
    ready: BpfMesh,
) -> None:
    once = attached(ready)
    assert set(once.values()) == {1}
    ready.mesh.kill()
    ready.start()
    assert ready.wait_for_paths()[Path.CONNECT] == "available"
    assert attached(ready) == once
    ready.mesh.stop()
    assert not attached(ready)
    assert not ready.directory.exists()


def test_an_agent_that_is_not_to_use_bpf_takes_away_what_a_killed_one_left(
    ready: BpfMesh,
) -> None:
    ready.mesh.kill()
    assert attached(ready)
    ready.start(enabled=False)
    wait_for(lambda: not attached(ready), "what was attached is gone")
    wait_for(lambda: not ready.directory.exists(), "so is what was pinned")


def say_much(connection: socket.socket) -> None:
    """More in one direction than is worth copying."""
    connection.sendall(bytes(4 * MEBIBYTE))


def hear_much(connection: socket.socket) -> None:
    left = 4 * MEBIBYTE
    while left:
        part = connection.recv(left)
        assert part
        left -= len(part)


def ask(connection: socket.socket) -> None:
    """Small messages back and forth."""
    for _ in range(100):
        connection.sendall(b"?")
        assert connection.recv(1) == b"!"


def answer(connection: socket.socket) -> None:
    for _ in range(100):
        assert connection.recv(1) == b"?"
        connection.sendall(b"!")


# What clients and endpoints say so that a flow comes to be moved by each.
TALKS = {
    Mover.SPLICE: (say_much, hear_much),
    Mover.SOCKMAP: (ask, answer),
}


class Talk:
    """The client's side of two rounds."""

    def __init__(self, connection: socket.socket, mover: Mover) -> None:
        self.connection = connection
        self._says, _ = TALKS[mover]

    def round(self) -> None:
        self._says(self.connection)
        assert self.connection.recv(4) == b"done"


@contextmanager
def talking(mesh: Mesh, mover: Mover) -> Iterator[tuple[Talk, Queue[str]]]:
    """A talk that has not begun, and how its connection ends for the endpoint."""
    _, does = TALKS[mover]
    endings: Queue[str] = Queue()

    def serve(connection: socket.socket) -> None:
        try:
            for _ in range(2):
                does(connection)
                connection.sendall(b"done")
        except ConnectionResetError:
            endings.put("reset")
        else:
            endings.put(ending_of(connection))

    with (
        TcpServer(mesh.network.server, (SERVER[4], 8080), serve),
        closing(call(mesh.network.pod, SERVICE[4], PORT, timeout=PATIENCE_SECONDS)) as connection,
    ):
        yield Talk(connection, mover), endings


def ending_of(connection: socket.socket) -> str:
    try:
        assert connection.recv(1) == b""
    except ConnectionResetError:
        return "reset"
    return "end of stream"


@pytest.mark.parametrize("mover", TALKS)
def test_flows_go_on_while_the_agent_drains_whoever_moves_them(
    ready: BpfMesh, mover: Mover
) -> None:
    mesh = ready.mesh
    with talking(mesh, mover) as (talk, endings):
        talk.round()
        os.kill(mesh.agent.pid, signal.SIGTERM)
        wait_for(lambda: '"event":"draining"' in mesh.log, "the agent drains")
        talk.round()
        talk.connection.shutdown(socket.SHUT_WR)
        assert endings.get(timeout=PATIENCE_SECONDS) == "end of stream"
        assert ending_of(talk.connection) == "end of stream"
    assert mesh.exit_status() == 0
    (report,) = mesh.flows()
    assert mover in report.movers


@pytest.mark.parametrize("mover", TALKS)
def test_flows_of_a_killed_agent_are_reset_at_both_ends_whoever_moves_them(
    ready: BpfMesh, mover: Mover
) -> None:
    with talking(ready.mesh, mover) as (talk, endings):
        talk.round()
        ready.mesh.kill()
        assert ending_of(talk.connection) == "reset"
        assert endings.get(timeout=PATIENCE_SECONDS) == "reset"
