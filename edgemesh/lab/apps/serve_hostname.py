"""Answers every request with the pod's name and a newline, over HTTP or UDP.

The flags are those of the image that Kubernetes' own tests use (serve_hostname).
"""

from __future__ import annotations

import argparse
import os

import trio

from edgemesh.lab.apps.serving import serve_tcp, serve_udp, tell_ready

_MAX_HEAD_BYTES = 65536


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(prog="serve_hostname")
    parser.add_argument("--http", type=_flag, default=True)
    parser.add_argument("--udp", type=_flag, default=False)
    parser.add_argument("--port", type=int, default=9376)
    flags = parser.parse_args()
    trio.run(_serve, flags.http, flags.udp, flags.port)


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


async def _serve(http: bool, udp: bool, port: int) -> None:
    name = f"{os.environ['HOSTNAME']}\n".encode()

    async def handle(stream: trio.SocketStream) -> None:
        await _answer_requests(stream, name)

    async with trio.open_nursery() as nursery:
        if http:
            await nursery.start(serve_tcp, handle, port)
        if udp:
            await nursery.start(serve_udp, lambda _question: name, port)
        tell_ready()


async def _answer_requests(stream: trio.SocketStream, body: bytes) -> None:
    """One connection: request after request until the client wants no more."""
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            data = await stream.receive_some()
            if not data or len(received) > _MAX_HEAD_BYTES:
                return
            received += data
        head, _, received = received.partition(b"\r\n\r\n")
        request, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        declared = fields.get("content-length", "0")
        if not declared.isdecimal():
            return
        length = int(declared)
        while length > len(received):
            length -= len(received)
            received = await stream.receive_some()
            if not received:
                return
        received = received[length:]
        keep = fields.get("connection", "").lower() != "close" and not request.endswith("HTTP/1.0")
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
            + f"content-length: {len(body)}\r\n".encode()
            + (b"" if keep else b"connection: close\r\n")
            + b"\r\n"
            + (b"" if request.startswith("HEAD ") else body)
        )
        if not keep:
            return


if __name__ == "__main__":
    main()
