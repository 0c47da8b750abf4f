"""What becomes of connections, and of what was attached, when an agent is killed."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import trio
from bpf_mesh import BpfMesh, new_bpf_mesh
from interception_lab import PORT, SERVER, SERVICE, call
from lab_homes import wait_for
from mesh import web, web_and_bystander
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


@pytest.fixture
def ready() -> Iterator[BpfMesh]:
    """A mesh whose agent has the kernel balance calls of the Service."""
    with new_bpf_mesh() as made:
        made.start()
        made.mesh.apply(*web("tcp"))
        assert made.wait_for_paths()[Path.CONNECT] == "available", made.mesh.log
        yield made


def attached(mesh: BpfMesh) -> Counter[str]:
    """The programs at the cgroup of the agent, by hook."""
    return Counter(found.hook for found in foreign_at_cgroup(mesh.cgroup, cgroup_hooks(), own=()))


@pytest.mark.parametrize("version", VERSIONS)
def test_connections_that_the_kernel_balanced_outlive_the_agent(
    ready: BpfMesh, version: int
) -> None:
    mesh = ready.mesh
    place = Place(SERVICE[version], (SERVER[version], 8080))

    async def play() -> None:
        async with crowds(mesh.network, place, CONNECTIONS, ready.cgroup) as both:
            await both.meet()
            status = await trio.to_thread.run_sync(mesh.status)
            assert status["flows"]["total"] == 0
            await trio.to_thread.run_sync(mesh.kill)
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


def say_much(connection: socket.socket) -> None:
    """More in one direction than is worth copying."""
    connection.sendall(bytes(4 * MEBIBYTE))


def hear_much(connection: socket.socket) -> None:
    left = 4 * MEBIBYTE
    while left:
        left -= len(connection.recv(left))


def ask(connection: socket.socket) -> None:
    """Small messages back and forth."""
    for _ in range(100):
        connection.sendall(b"?")
        assert connection.recv(1) == b"!"


def answer(connection: socket.socket) -> None:
    for _ in range(100):
        assert connection.recv(1) == b"?"
        connection.sendall(b"!")


TALKS = {
    Mover.SPLICE: (say_much, hear_much),
    Mover.SOCKMAP: (ask, answer),
}


@pytest.mark.parametrize("mover", TALKS)
def test_flows_that_something_else_moves_are_reset_at_both_ends(
    ready: BpfMesh, mover: Mover
) -> None:
    mesh = ready.mesh
    client_says, endpoint_does = TALKS[mover]
    endings: list[str] = []
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        endpoint_does(connection)
        connection.sendall(b"done")
        endings.append(ending_of(connection))
        ended.set()

    def talk(then: Callable[[socket.socket], None]) -> None:
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            client_says(connection)
            assert connection.recv(4) == b"done"
            then(connection)

    def kill(connection: socket.socket) -> None:
        mesh.kill()
        assert ending_of(connection) == "reset"

    with TcpServer(mesh.network.server, (SERVER[4], 8080), serve):
        talk(lambda connection: connection.shutdown(socket.SHUT_WR))
        (report,) = mesh.wait_for_flows(1)
        assert mover in report.movers
        assert ended.wait(5)
        ended.clear()
        talk(kill)
        assert ended.wait(5)
    assert endings == ["end of stream", "reset"]


def ending_of(connection: socket.socket) -> str:
    try:
        assert connection.recv(1) == b""
    except ConnectionResetError:
        return "reset"
    return "end of stream"
