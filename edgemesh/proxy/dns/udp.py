"""Datagrams: one wake-up of the task answers all that have come."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Final

import trio

from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.responder import Deferred, Responder

# Datagrams answered before other tasks get a turn: about a millisecond's work.
_BUDGET: Final = 64
# Longer queries than any honest one are cut off and so malformed.
_LONGEST_QUERY: Final = 4096


async def serve_datagrams(sock: socket.socket, responder: Responder, counters: DnsCounters) -> None:
    """Answer for ever.

    Args:
        sock: non-blocking and bound; the caller closes it.
        responder: what answers.
        counters: where answers are counted that could not be sent.
    """
    while True:
        await trio.lowlevel.wait_readable(sock)
        _answer_some(sock, responder, counters)


def _answer_some(sock: socket.socket, responder: Responder, counters: DnsCounters) -> None:
    for _ in range(_BUDGET):
        try:
            message, client = sock.recvfrom(_LONGEST_QUERY)
        except BlockingIOError:
            return
        reply = responder.answer_datagram(message)
        if isinstance(reply, Deferred):
            reply.deliver = partial(_send, sock, counters, client)
        elif reply:
            _send(sock, counters, client, reply)


def _send(sock: socket.socket, counters: DnsCounters, client: Any, reply: bytes) -> None:
    try:
        sock.sendto(reply, client)
    except OSError:
        # A full queue, a client that is no longer reachable or says that it is port 0.
        counters.unsent += 1
