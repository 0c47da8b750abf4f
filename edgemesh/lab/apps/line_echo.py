"""Greets with five lines, before the client has said anything, and then echoes line by line.

Stands for the go-echo image: the port comes from TCP_PORT, what it tells from the environment.
"""

from __future__ import annotations

import os

import trio

from edgemesh.lab.apps.serving import serve_tcp, tell_ready

_MAX_LINE_BYTES = 65536


def main() -> None:
    """Serve on the port that TCP_PORT names."""
    trio.run(_serve, int(os.environ["TCP_PORT"]), _greeting().encode())


def _greeting() -> str:
    told = {
        "Welcome, you are connected to node": "NODE_NAME",
        "Running on Pod": "POD_NAME",
        "In namespace": "POD_NAMESPACE",
        "With IP address": "POD_IP",
        "Service": "SERVICE_ACCOUNT",
    }
    return "".join(f"{text} {os.environ.get(name, '')}.\n" for text, name in told.items())


async def _serve(port: int, greeting: bytes) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.send_all(greeting)
        await _echo_lines(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, handle, port)
        tell_ready()


async def _echo_lines(stream: trio.SocketStream) -> None:
    unfinished = b""
    async for data in stream:
        lines, newline, unfinished = (unfinished + data).rpartition(b"\n")
        if newline:
            await stream.send_all(lines + newline)
        if len(unfinished) > _MAX_LINE_BYTES:
            return
    await stream.send_all(unfinished)


if __name__ == "__main__":
    main()
