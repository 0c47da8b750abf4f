"""Answers every request with the pod's name and a newline, over HTTP or UDP.

The flags are those of the image that Kubernetes' own tests use (serve_hostname).
"""

from __future__ import annotations

import argparse
import os

import trio

from edgemesh.lab.apps.requests import Request, Response, serve_requests
from edgemesh.lab.apps.serving import serve_tcp, serve_udp, tell_ready


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

    async def answer(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(name)

    async def handle(stream: trio.SocketStream) -> None:
        await serve_requests(stream, answer)

    async with trio.open_nursery() as nursery:
        if http:
            await nursery.start(serve_tcp, handle, port)
        if udp:
            await nursery.start(serve_udp, lambda _question: name, port)
        tell_ready()


if __name__ == "__main__":
    main()
