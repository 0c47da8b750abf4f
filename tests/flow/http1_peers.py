"""Clients and endpoints that speak HTTP/1 over a data plane on loopback."""

from __future__ import annotations

from plane_fixtures import Peer, Server, World

GET = b"GET /things?n=1 HTTP/1.1\r\nHost: web\r\nX-Mixed-Case: Kept\r\n\r\n"
POST = b"POST /things HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Server: one\r\n\r\nhello"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def failing(status: int) -> bytes:
    return b"HTTP/1.1 %d Failed\r\nContent-Length: 0\r\n\r\n" % status


async def call_http(world: World, *servers: Server, **port: object) -> Peer:
    """A client of a Service that declares HTTP and has these endpoints."""
    world.service(*(one.endpoint for one in servers), application_protocol="http", **port)
    return await world.call()


async def asked(server: Server, request: bytes = GET) -> Peer:
    """The connection on which an endpoint gets this request."""
    peer = await server.accept()
    assert await peer.receive(len(request)) == request
    return peer


async def called_http(
    world: World, server: Server, request: bytes = GET, **port: object
) -> tuple[Peer, Peer]:
    """A client of a new Service and the connection on which its endpoint got this request."""
    client = await call_http(world, server, **port)
    await client.send(request)
    return client, await asked(server, request)


async def exchanged(client: Peer, server: Server, request: bytes = GET, answer: bytes = OK) -> Peer:
    """Ask and answer once; the endpoint's connection, which is new."""
    await client.send(request)
    peer = await asked(server, request)
    await peer.send(answer)
    assert await client.receive(len(answer)) == answer
    return peer


async def head_of(client: Peer) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer of the proxy's own, whose body is read as well."""
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        raw += await client.receive(1)
    first, *lines = raw.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    await client.receive(int(fields.get("content-length", "0")))
    return int(first.split(" ")[1]), fields
