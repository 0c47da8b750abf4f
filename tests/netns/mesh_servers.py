"""Servers of a test, in threads of its own: whoever calls learns who answered, and as whom."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from interception_lab import inside

from edgemesh.kernel.sockets import Address, family_of

Handle = Callable[[socket.socket], None]


class TcpServer:
    """Serves every connection in a thread of its own; an error of its peer ends only that one.

    Attributes:
        clients: who called, in order.
    """

    def __init__(self, namespace: str, address: Address, handle: Handle) -> None:
        self._handle = handle
        self._open: set[socket.socket] = set()
        self._serving: list[threading.Thread] = []
        self.clients: list[Address] = []

        def listen() -> socket.socket:
            return socket.create_server(address, family=family_of(address[0]), backlog=4096)

        self._listener = inside(namespace, listen)
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes accept(2), which close(2) does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        # Later tests in this process count descriptors.
        for thread in self._serving:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, client = self._listener.accept()
            except OSError:
                return
            self.clients.append(client[:2])
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=[connection])
            self._serving.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._handle(connection)
        self._open.discard(connection)


class UdpServer:
    """Answers every datagram with what ``answer`` makes of it and of its sender's address."""

    def __init__(
        self, namespace: str, address: Address, answer: Callable[[bytes, str], bytes]
    ) -> None:
        def bind() -> socket.socket:
            sock = socket.socket(family_of(address[0]), socket.SOCK_DGRAM)
            sock.bind(address)
            return sock

        self._sock = inside(namespace, bind)
        self._answer = answer
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        # An unconnected socket says ENOTCONN, and wakes its reader all the same.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def _run(self) -> None:
        while True:
            data, client = self._sock.recvfrom(65536)
            if not client:
                return
            said = self._answer(data, client[0])
            try:
                self._sock.sendto(said, client)
            except BrokenPipeError:
                # What came before the end may be read after it, and cannot be answered.
                assert self._is_over
                return


def name_and_client(name: str) -> Handle:
    """Say who serves and who calls, then echo."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(f"{name} {connection.getpeername()[0]}\n".encode())
        echo(connection)

    return handle


def echo(connection: socket.socket) -> None:
    """Send everything back, then the end."""
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def read_to_end(connection: socket.socket) -> bytes:
    """All that is left of a stream."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def first_line(connection: socket.socket) -> str:
    """Of a server that speaks first; the rest stays unread only if it is not there yet."""
    return connection.recv(4096).decode().partition("\n")[0]
