"""Clients and endpoints that behave badly, and a neighbour whose requests are all answered.

How long they take meanwhile is measured by the bench ``neighbour``.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from bench import misbehaviour
from interception_lab import PORT, SERVER, SERVICE, call
from mesh import Mesh, endpoints, service, web
from mesh_servers import TcpServer, echo

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

DEAD_SERVICE = "10.96.0.66"
# Of the server's network, but nobody has it: neither an answer nor a refusal ever comes.
DEAD_ENDPOINT = "10.2.0.66"
KEPT_REQUESTS = 200
FRESH_REQUESTS = 20


@pytest.fixture
def busy(mesh: Mesh) -> Iterator[Mesh]:
    """An agent that looks at the first bytes of everything, an echo, and a dead Service."""
    with TcpServer(mesh.network.server, (SERVER[4], 8080), echo):
        mesh.start(proxy={"peek": "always"})
        mesh.apply(
            *web(),
            service("dead", [DEAD_SERVICE], [("TCP", PORT)]),
            *endpoints("dead", [DEAD_ENDPOINT], [("TCP", 8080)]),
        )
        yield mesh


@contextmanager
def misbehaving(mesh: Mesh, kind: str) -> Iterator[None]:
    address = DEAD_SERVICE if kind == "dead" else SERVICE[4]
    argv = [sys.executable, misbehaviour.__file__, kind, address, str(PORT)]
    command = command_in(mesh.network.pod, argv)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        try:
            yield
            assert process.poll() is None
        finally:
            process.terminate()


@pytest.mark.parametrize("kind", misbehaviour.KINDS)
def test_every_request_of_a_neighbour_is_answered_meanwhile(busy: Mesh, kind: str) -> None:
    answered = 0
    with misbehaving(busy, kind), closing(call(busy.network.pod, SERVICE[4], PORT)) as kept:
        answered += sum(is_answered(kept, number) for number in range(KEPT_REQUESTS))
        for number in range(FRESH_REQUESTS):
            with closing(call(busy.network.pod, SERVICE[4], PORT)) as fresh:
                answered += is_answered(fresh, number)
    assert answered == KEPT_REQUESTS + FRESH_REQUESTS
    assert busy.status()["problems"] == []


def is_answered(connection: socket.socket, number: int) -> bool:
    request = b"GET /%d HTTP/1.1\r\nHost: web\r\n\r\n" % number
    connection.sendall(request)
    received = b""
    while len(received) < len(request):
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received == request
