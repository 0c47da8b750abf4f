"""An endpoint that speaks HTTP/1.1 as applications do, in threads of the test.

What it is asked for is in the path; what it gets is told in its answers.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from queue import SimpleQueue
from socketserver import ThreadingTCPServer

from interception_lab import inside

from edgemesh.kernel.sockets import Address

PART_BYTES = 65536


def parts(number: int) -> Iterator[bytes]:
    """Data that is not the same all over."""
    for index in range(number):
        yield index.to_bytes(4, "big") * (PART_BYTES // 4)


def digest(number: int) -> str:
    """Of so many parts."""
    told = hashlib.sha256()
    for part in parts(number):
        told.update(part)
    return told.hexdigest()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: Address) -> None:
        super().__init__(address, Handler)
        self.events: SimpleQueue[str] = SimpleQueue()
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Address]:
        """Accept, and remember what is open."""
        connection, client = super().get_request()
        self._open.add(connection)
        return connection, client

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close a connection whose thread is at its end."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End all connections, and wait for their threads."""
        self.events.put("")
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Else an answer waits 40 ms for the acknowledgement of its head.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
        """Say nothing."""

    def handle_expect_100(self) -> bool:
        """Let a client send its body, or answer at once."""
        if self.path != "/forbidden":
            return super().handle_expect_100()
        self._answer(403, {"asked": "first"})
        return False

    def do_GET(self) -> None:
        """Serve what the path says."""
        name, _, number = self.path.removeprefix("/").partition("/")
        if name == "parts":
            self._send_parts(int(number))
        elif name == "events":
            self._send_events()
        elif name == "redirect":
            self.send_response(303)
            self.send_header("Location", "/landed")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name == "until-close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.writelines(parts(int(number)))
        else:
            self._answer(200, self._seen())

    do_HEAD = do_GET  # noqa: N815 - as it is called

    def do_POST(self) -> None:
        """Take a body and tell about it."""
        length, told = 0, hashlib.sha256()
        for part in self._body():
            length += len(part)
            told.update(part)
        self._answer(200, {**self._seen(), "length": length, "digest": told.hexdigest()})

    do_PUT = do_POST  # noqa: N815 - as it is called

    def _seen(self) -> dict[str, object]:
        return {
            "path": self.path,
            "method": self.command,
            "connection": self.client_address[1],
            "cookie": self.headers.get("Cookie", ""),
        }

    def _answer(self, status: int, told: dict[str, object]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "seen=yes")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_parts(self, number: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(number * PART_BYTES))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.writelines(parts(number))

    def _send_events(self) -> None:
        """Each one when it happens, until one is empty."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while event := self.server.events.get():
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            part = self.rfile.read(min(left, PART_BYTES))
            left -= len(part)
            yield part


@contextmanager
def http_endpoint(namespace: str, address: Address) -> Iterator[SimpleQueue[str]]:
    """Serve; what is put into the queue is an event for who waits at ``/events``."""
    server = inside(namespace, lambda: _Server(address))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.events
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
