"""The server as a process: told what to do by JSON lines on a Unix socket.

Run: ``python tests/apiserver/serve.py --host ADDRESS --port PORT --control PATH``. It serves as
soon as the socket is there, and ends with SIGTERM. A line is ``{"do": NAME, "with": [ARGUMENTS]}``;
the answer is one line with ``{"result": VALUE}``, or with
``{"error": WORDS}`` where there is no such thing. `apiserver.remote` speaks this.
"""

from __future__ import annotations

import argparse
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from apiserver.answers import Request
from apiserver.front import Front, listening
from apiserver.metaserver import MetaServer
from apiserver.resources import Body
from apiserver.reviews import TokenUser
from apiserver.server import ApiServer


def actions(server: Front) -> dict[str, Callable[..., Any]]:
    """What can be told, by name."""
    shared: dict[str, Callable[..., Any]] = {
        "put": server.put,
        "delete": server.delete,
        "objects": lambda path: list(server.objects(path).values()),
        "install_crd": server.install_crd,
        "remove_crd": server.remove_crd,
        "compact": server.compact,
        "end_watches": server.end_watches,
        "violations": lambda: server.violations,
        "requests": lambda: [_told(request) for request in server.requests],
        "watches": lambda: [request.target for request in server.watches.values()],
    }
    if isinstance(server, MetaServer):
        return {**shared, "lose_cloud": server.lose_cloud, "return_cloud": server.return_cloud}
    if isinstance(server, ApiServer):
        users = server.reviewer.users
        shared["allow"] = server.allow
        return {**shared, "vouch": lambda token, user: users.update({token: TokenUser(**user)})}
    return shared


def _told(request: Request) -> Body:
    return {"method": request.method, "target": request.target, "at": request.at}


def _done(known: dict[str, Callable[..., Any]], line: bytes) -> Body:
    told = msgspec.json.decode(line)
    try:
        return {"result": known[told["do"]](*told["with"])}
    except KeyError as error:
        return {"error": str(error)}


async def run(
    server: Front, host: str, port: int, control: socket.socket, tls: ssl.SSLContext | None
) -> None:
    """Serve until SIGTERM; the listening socket ``control`` is closed then."""
    known = actions(server)

    async def obey(stream: trio.SocketStream) -> None:
        async with stream:
            rest = b""
            async for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await stream.send_all(msgspec.json.encode(_done(known, line)) + b"\n")

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with listening(server, host, port, tls), trio.open_nursery() as nursery:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(control))
            await nursery.start(trio.serve_listeners, obey, [listener])
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


def control_socket(path: Path) -> socket.socket:
    """A listening socket; who finds the path can connect."""
    sock = socket.socket(socket.AF_UNIX)
    new = path.with_suffix(".new")
    sock.bind(str(new))
    sock.listen(16)
    new.rename(path)
    return sock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True)
    parser.add_argument("--token", default="", help="bearer token that clients must show")
    parser.add_argument("--metaserver", action="store_true", help="be a KubeEdge MetaServer")
    parser.add_argument("--certificate", type=Path, help="PEM of it and its key: serve TLS")
    chosen = parser.parse_args()
    tokens = {chosen.token} if chosen.token else set()
    server: Front = MetaServer() if chosen.metaserver else ApiServer(tokens=tokens)
    tls = None
    if chosen.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(chosen.certificate)
    trio.run(run, server, chosen.host, chosen.port, control_socket(chosen.control), tls)


if __name__ == "__main__":
    main()
