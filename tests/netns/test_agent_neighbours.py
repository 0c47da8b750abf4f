"""Clients and endpoints that behave badly, and a neighbour that does not notice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress

import pytest
from interception_lab import PORT, SERVER, SERVICE, call, inside
from mesh import Mesh, endpoints, service, web
from mesh_servers import TcpServer, echo

pytestmark = pytest.mark.root

DEAD_SERVICE = "10.96.0.66"
# Of the server's network, but nobody has it: neither an answer nor a refusal ever comes.
DEAD_ENDPOINT = "10.2.0.66"
DEAD_CONNECTIONS = 1000
SLOW_CONNECTIONS = 200
REQUESTS = 200


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
def million_byte_first_line(mesh: Mesh) -> Iterator[None]:
    with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
        connection.setblocking(False)
        rest = memoryview(b"GET /" + b"x" * 1_000_000)

        def go_on() -> None:
            nonlocal rest
            with suppress(BlockingIOError):
                rest = rest[connection.send(rest) :]

        with repeated(go_on, 0.001):
            yield


@contextmanager
def slow_loris(mesh: Mesh) -> Iterator[None]:
    with ExitStack() as opened:
        connections = [
            opened.enter_context(closing(call(mesh.network.pod, SERVICE[4], PORT)))
            for _ in range(SLOW_CONNECTIONS)
        ]

        def one_byte_each() -> None:
            for connection in connections:
                connection.send(b"G")

        with repeated(one_byte_each, 0.05):
            yield


@contextmanager
def a_byte_a_second(mesh: Mesh) -> Iterator[None]:
    with (
        closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection,
        repeated(lambda: connection.send(b"G"), 1),
    ):
        yield


@contextmanager
def a_thousand_calls_of_the_dead(mesh: Mesh) -> Iterator[None]:
    def dial() -> list[socket.socket]:
        dialled = [socket.socket() for _ in range(DEAD_CONNECTIONS)]
        for connection in dialled:
            connection.setblocking(False)
            connection.connect_ex((DEAD_SERVICE, PORT))
        return dialled

    with ExitStack() as opened:
        for connection in inside(mesh.network.pod, dial):
            opened.enter_context(closing(connection))
        yield


@contextmanager
def repeated(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Do something now, and again and again beside the block."""
    over = threading.Event()

    def repeat() -> None:
        action()
        while not over.wait(seconds):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.parametrize(
    "misbehave",
    [million_byte_first_line, slow_loris, a_byte_a_second, a_thousand_calls_of_the_dead],
)
def test_every_request_of_a_neighbour_is_answered_meanwhile(
    busy: Mesh, misbehave: Callable[[Mesh], AbstractContextManager[None]]
) -> None:
    answered = 0
    with misbehave(busy), closing(call(busy.network.pod, SERVICE[4], PORT)) as kept:
        for number in range(REQUESTS):
            request = b"GET /%d HTTP/1.1\r\nHost: web\r\n\r\n" % number
            answered += exchange(kept, request) == request
        for number in range(REQUESTS // 10):
            with closing(call(busy.network.pod, SERVICE[4], PORT)) as fresh:
                request = b"GET /%d HTTP/1.1\r\nHost: web\r\n\r\n" % number
                answered += exchange(fresh, request) == request
    assert answered == REQUESTS + REQUESTS // 10
    assert busy.status()["problems"] == []


def exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    received = b""
    while len(received) < len(request):
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received
