"""Calls that the demo makes from pods, beyond what curl can do.

Run as ``python -m edgemesh.lab.demo.calls KIND HOST PORT``, where KIND is lines, datagrams, grpc,
half-close or websocket; prints one JSON object: the caller's own port, and what came back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hpack
import trio

from edgemesh.lab.apps.grpc_echo import read_frame, request
from edgemesh.lab.apps.reading import Reader
from edgemesh.wire.http2.codes import DATA, END_STREAM, HEADERS

HALF_CLOSED_BYTES = 64 * 1024 * 1024
DATAGRAM_SIZES = (5, 1400, 60000)
_TIMEOUT_SECONDS = 20.0
_CHUNK_BYTES = 262144
_DATAGRAM_TRIES = 4

Answer = dict[str, Any]


def main() -> None:
    """Make one call and print what came of it."""
    kind, host, port = sys.argv[1:]
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    print(json.dumps(_CALLS[kind](host, int(port))))  # noqa: T201  # what this program is for


def call_lines(host: str, port: int) -> Answer:
    """Hear a greeting out, say one line, and hear it again."""
    with socket.create_connection((host, port)) as connection:
        stream = connection.makefile("rwb")
        greeting = [stream.readline().decode().rstrip() for _ in range(5)]
        stream.write(b"hello from a pod\n")
        stream.flush()
        echo = stream.readline().decode().rstrip()
        return {"port": connection.getsockname()[1], "greeting": greeting, "echo": echo}


def call_datagrams(host: str, port: int) -> Answer:
    """Send datagrams of several sizes, each after the answer to the one before."""
    (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        # Connected: an answer from another address than the one called is not received.
        connection.connect(address)
        equal = [_comes_back(connection, os.urandom(size)) for size in DATAGRAM_SIZES]
        return {"port": connection.getsockname()[1], "equal": equal}


def _comes_back(connection: socket.socket, sent: bytes) -> bool:
    """Whether a datagram does, as it was; one that is lost, as UDP may, is sent again."""
    connection.settimeout(_TIMEOUT_SECONDS / _DATAGRAM_TRIES)
    for _ in range(_DATAGRAM_TRIES):
        connection.send(sent)
        # What comes twice was sent twice.
        with suppress(TimeoutError):
            while connection.recv(65535) != sent:
                pass
            return True
    return False


def call_half_closed(host: str, port: int) -> Answer:
    """Send much, close this direction, and read everything that comes back until the end."""
    with socket.create_connection((host, port)) as connection:
        sent, received, count = hashlib.sha256(), hashlib.sha256(), 0

        def send() -> None:
            for _ in range(HALF_CLOSED_BYTES // _CHUNK_BYTES):
                chunk = os.urandom(_CHUNK_BYTES)
                sent.update(chunk)
                connection.sendall(chunk)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while data := connection.recv(_CHUNK_BYTES):
            received.update(data)
            count += len(data)
        sender.join()
        return {
            "port": connection.getsockname()[1],
            "bytes": count,
            "sent": sent.hexdigest(),
            "received": received.hexdigest(),
        }


def call_websocket(host: str, port: int) -> Answer:
    """Open a WebSocket (RFC 6455), send one masked text message, and read one back."""
    text = b"hello over a WebSocket"
    with socket.create_connection((host, port)) as connection:
        stream = connection.makefile("rwb")
        key = base64.b64encode(os.urandom(16)).decode()
        stream.write(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        stream.flush()
        status = stream.readline().decode().rstrip()
        while stream.readline() not in {b"\r\n", b""}:
            pass
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
        stream.write(struct.pack("!BB", 0x81, 0x80 | len(text)) + mask + masked)
        stream.flush()
        _, length = stream.read(2)
        echo = stream.read(length)
        port_of_call = connection.getsockname()[1]
        return {"port": port_of_call, "status": status, "equal": echo == text}


def call_grpc(host: str, port: int) -> Answer:
    """One unary call; the message comes back, and trailers with the status and the pod."""
    message = b"hello by gRPC"

    async def call() -> Answer:
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            await stream.send_all(request("/lab.Echo/Say", f"{host}:{port}", message))
            reader, decoder, received = Reader(stream), hpack.Decoder(), b""
            trailers: dict[str, str] = {}
            ended = False
            while not ended:
                kind, flags, stream_id, payload = await read_frame(reader)
                ended = bool(stream_id and flags & END_STREAM and kind in {DATA, HEADERS})
                if kind == DATA:
                    received += payload
                elif kind == HEADERS:
                    trailers.update((str(n), str(v)) for n, v in decoder.decode(payload))
            port_of_call = stream.socket.getsockname()[1]
        return {
            "port": port_of_call,
            "status": trailers.get("grpc-status"),
            "pod": trailers.get("pod"),
            "equal": received[5:] == message,
        }

    async def call_in_time() -> Answer:
        with trio.fail_after(_TIMEOUT_SECONDS):
            return await call()

    return trio.run(call_in_time)


_CALLS: dict[str, Callable[[str, int], Answer]] = {
    "lines": call_lines,
    "datagrams": call_datagrams,
    "grpc": call_grpc,
    "half-close": call_half_closed,
    "websocket": call_websocket,
}

if __name__ == "__main__":
    main()
