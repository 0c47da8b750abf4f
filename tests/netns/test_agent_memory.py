"""What the agent's memory is used for, and for how little."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from interception_lab import PORT, SERVER, SERVICE, call, inside
from lab_homes import wait_for
from mesh import Mesh, web
from mesh_servers import TcpServer, read_to_end

from edgemesh.lab.network import command_in, set_sysctl

pytestmark = pytest.mark.root

MEBIBYTE = 1024 * 1024
# Whoever sends has to stop before this much is under way, and the agent may not keep as much.
BOUND = 16 * MEBIBYTE
MESSAGE = os.urandom(MEBIBYTE) * 48
IDLE = 5000


def test_a_receiver_that_never_reads_stops_its_sender_and_loses_nothing(mesh: Mesh) -> None:
    reading = threading.Event()
    received: list[bytes] = []

    def read_later(connection: socket.socket) -> None:
        reading.wait(60)
        received.append(hashlib.sha256(read_to_end(connection)).digest())
        connection.sendall(b"done")

    mesh.start()
    mesh.apply(*web())
    with ExitStack() as opened:
        opened.callback(reading.set)
        opened.enter_context(TcpServer(mesh.network.server, (SERVER[4], 8080), read_later))
        connection = opened.enter_context(closing(call(mesh.network.pod, SERVICE[4], PORT)))
        before = mesh.resident_bytes()
        sent = send_until_stopped(connection)
        assert sent < BOUND
        assert mesh.resident_bytes() - before < BOUND
        reading.set()
        connection.settimeout(60)
        connection.sendall(memoryview(MESSAGE)[sent:])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4) == b"done"
        assert received == [hashlib.sha256(MESSAGE).digest()]


def send_until_stopped(connection: socket.socket) -> int:
    """Send until for a second nothing more is taken; how much was."""
    connection.setblocking(False)
    sent = 0
    while select.select([], [connection], [], 1)[1]:
        sent += connection.send(memoryview(MESSAGE)[sent:])
        assert sent < len(MESSAGE), "it never stops"
    return sent


def test_five_thousand_idle_connections_cost_under_eight_kibibytes_each(mesh: Mesh) -> None:
    mesh.start()
    mesh.apply(*web())
    # Who is in the backlog is connected: the server need not even accept.
    set_sysctl(mesh.network.server, "net.core.somaxconn", 2 * IDLE)

    def listen() -> socket.socket:
        return socket.create_server((SERVER[4], 8080), backlog=2 * IDLE)

    with closing(inside(mesh.network.server, listen)), idle_connections(mesh, 100):
        wait_for(lambda: open_connections(mesh) == 100, "some are relayed")
        before = mesh.resident_bytes()
        with idle_connections(mesh, IDLE):
            wait_for(lambda: open_connections(mesh) == IDLE + 100, "all are relayed", 60)
            each = (mesh.resident_bytes() - before) / IDLE
            print(f"{each:.0f} bytes each")
            assert each < 8 * 1024


def open_connections(mesh: Mesh) -> int:
    number: int = mesh.status()["flows"]["tcp_open"]
    return number


@contextmanager
def idle_connections(mesh: Mesh, number: int) -> Iterator[None]:
    script = Path(__file__).with_name("idle_connections.py")
    argv = [sys.executable, str(script), SERVICE[4], str(PORT), str(number)]
    with subprocess.Popen(
        command_in(mesh.network.pod, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.communicate()
