"""One pod that speaks everything: HTTP 8080, gRPC 9000, WebSocket 8081, TCP 7000, UDP 5300.

HTTP answers with the pod's name, the others send back what they are sent.
"""

from __future__ import annotations

import os

import trio

from edgemesh.lab.apps.byte_echo import echo_bytes
from edgemesh.lab.apps.grpc_echo import echo_calls
from edgemesh.lab.apps.requests import Request, Response, serve_requests
from edgemesh.lab.apps.serving import serve_tcp, serve_udp, tell_ready
from edgemesh.lab.apps.websocket_echo import echo_messages


def main() -> None:
    """Serve on all ports."""
    trio.run(_serve)


async def _serve() -> None:
    name = f"{os.environ['HOSTNAME']}\n".encode()

    async def answer(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(name)

    async def answer_requests(stream: trio.SocketStream) -> None:
        await serve_requests(stream, answer)

    handlers = {8080: answer_requests, 9000: echo_calls, 8081: echo_messages, 7000: echo_bytes}
    async with trio.open_nursery() as nursery:
        for port, handler in handlers.items():
            await nursery.start(serve_tcp, handler, port)
        await nursery.start(serve_udp, bytes, 5300)
        tell_ready()


if __name__ == "__main__":
    main()
