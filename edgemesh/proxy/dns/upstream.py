"""Ask the upstream servers one question."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from edgemesh.kernel.sockets import dialling_socket
from edgemesh.policy.dns_cache import Key
from edgemesh.proxy.dns.framing import MessageReader, send_message
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError
from edgemesh.wire.dns.query import encode_query
from edgemesh.wire.dns.records import Content
from edgemesh.wire.dns.response import Response, parse_response

Server = tuple[str, int]

# Answers; everything else is a server's inability, and another server may do better.
_GOOD: Final = frozenset({codes.NOERROR, codes.NXDOMAIN})
# What a server without EDNS says to it (RFC 6891 section 7).
_NO_EDNS: Final = frozenset({codes.FORMERR, codes.NOTIMP})


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How to ask.

    Args:
        timeout_seconds: for one question, retransmission and TCP included.
        payload_bytes: the largest datagram that servers are told to send.
        mark: SO_MARK of the sockets, so that our own rules let them pass; 0 for none.
    """

    timeout_seconds: float
    payload_bytes: int
    mark: int


class Outcome(NamedTuple):
    """What came of a question: the first good answer, if any, and whether anybody replied."""

    content: Content | None
    heard: bool


async def ask_upstreams(servers: Iterable[Server], key: Key, settings: AskSettings) -> Outcome:
    """Ask all servers at once; the first good answer wins and ends the others' asking.

    SERVFAIL, REFUSED and their like do not win while another server may answer. Returns at
    once when every server has failed, and at the timeout at the latest.

    Cancellation: closes all sockets.
    """
    outcome = Outcome(None, heard=False)

    async def ask(server: Server, nursery: trio.Nursery) -> None:
        nonlocal outcome
        response = await _ask_server(server, key, settings)
        if response is None or outcome.content is not None:
            return
        if response.content.rcode in _GOOD:
            outcome = Outcome(response.content, heard=True)
            nursery.cancel_scope.cancel()
        else:
            outcome = Outcome(None, heard=True)

    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + settings.timeout_seconds
        for server in servers:
            nursery.start_soon(ask, server, nursery)
    return outcome


async def _ask_server(server: Server, key: Key, settings: AskSettings) -> Response | None:
    """One server's whole reply, None when the network or the server gives none."""
    try:
        response = await _ask_by_datagram(server, key, settings, settings.payload_bytes)
        if response.content.rcode in _NO_EDNS and not response.edns:
            response = await _ask_by_datagram(server, key, settings, 0)
        if response.truncated:
            response = await _ask_by_stream(server, key, settings)
    except (OSError, trio.BrokenResourceError, FormatError):
        return None
    return response


async def _ask_by_datagram(
    server: Server, key: Key, settings: AskSettings, payload_bytes: int
) -> Response:
    """Ask from a port and under an identifier that nobody can guess (RFC 5452 section 9.2).

    The socket is connected, so that the kernel drops what others send to it and tells when
    nobody listens there.
    """
    name, question_type = key
    identifier = secrets.randbits(16)
    query = encode_query(identifier, name, question_type, payload_bytes)
    with trio.socket.from_stdlib_socket(
        dialling_socket(server[0], socket.SOCK_DGRAM, settings.mark)
    ) as sock:
        await sock.connect(server)
        # One datagram may be lost.
        await sock.send(query)
        with trio.move_on_after(settings.timeout_seconds / 2):
            return await _receive_reply(sock, identifier, key)
        await sock.send(query)
        return await _receive_reply(sock, identifier, key)


async def _receive_reply(sock: trio.socket.SocketType, identifier: int, key: Key) -> Response:
    """Wait for the reply, past everything that is not it."""
    while True:
        message = await sock.recv(codes.LARGEST_MESSAGE)
        try:
            return parse_response(message, identifier, *key)
        except FormatError:
            continue


async def _ask_by_stream(server: Server, key: Key, settings: AskSettings) -> Response:
    name, question_type = key
    identifier = secrets.randbits(16)
    sock = trio.socket.from_stdlib_socket(
        dialling_socket(server[0], socket.SOCK_STREAM, settings.mark)
    )
    with sock:
        await sock.connect(server)
        stream = trio.SocketStream(sock)
        await send_message(stream, encode_query(identifier, name, question_type, 0))
        message = await MessageReader(stream).receive()
    if message is None:
        raise FormatError("the connection ended before the reply")
    return parse_response(message, identifier, name, question_type)
