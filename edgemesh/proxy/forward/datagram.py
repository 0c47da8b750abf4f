"""The relay path for UDP: datagrams from clients, each to the session that it belongs to.

A session (session.py) begins with the first datagram of a client to a destination. Datagrams
are passed on whole, up to the largest there are.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from edgemesh.kernel.sockets import (
    IP_PKTINFO,
    IP_RECVORIGDSTADDR,
    IPV6_RECVORIGDSTADDR,
    Address,
    unpack_address,
)
from edgemesh.model.flows import Ending, FlowFacts, Refusal
from edgemesh.model.services import Transport
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.answering import Answering
from edgemesh.proxy.forward.session import Session, Sessions
from edgemesh.reactor.reactor import IN

# Datagrams taken from the listener at one event.
_BUDGET = 32
# A struct sockaddr_in6; the others are smaller.
_ANCILLARY = socket.CMSG_SPACE(28)
_ORIGINAL = {
    (socket.IPPROTO_IP, IP_RECVORIGDSTADDR),
    (socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR),
}


class DatagramAcceptor:
    """The handler of one UDP listener."""

    def __init__(
        self,
        context: Context,
        sessions: Sessions,
        listener: socket.socket,
        original_destination: Callable[[Address, Address], Address | None] | None,
    ) -> None:
        """Prepare; `start` registers.

        Args:
            context: of the data plane.
            sessions: those that there are, of all listeners.
            listener: from `udp_listener`; closed by `stop`, if not by the caller before.
            original_destination: under REDIRECT, asked with the client and the local address
                for where a datagram was going; None under TPROXY, where the kernel says it.
        """
        self._context = context
        self._listener = listener
        self._original_destination = original_destination
        redirected = original_destination is not None
        self._answering = Answering(context, listener, redirected=redirected)
        self._sessions = sessions
        self._packet_buffer = bytearray(context.buffer.nbytes)
        self._packet = memoryview(self._packet_buffer)
        self._handling: Session | None = None

    def start(self) -> None:
        """Take datagrams from now on."""
        self._context.reactor.watch(self._listener.fileno(), self, IN)

    def stop(self) -> None:
        """Take no more datagrams from clients; sessions go on with what is under way."""
        if self._original_destination is None:
            self._context.reactor.close(self._listener)
        else:
            # Answers leave from it.
            self._context.reactor.unregister(self._listener.fileno())

    def on_bug(self, error: Exception) -> None:
        """End the session that was at work; the others go on."""
        if self._handling is not None:
            self._handling.finish(Ending.ERROR, type(error).__name__)
            self._handling = None

    def on_events(self, events: int) -> None:  # noqa: ARG002 - there is but one
        """Pass on what has come, within the turn's budget."""
        for _ in range(_BUDGET):
            try:
                count, ancillary, _, sender = self._listener.recvmsg_into(
                    [self._packet_buffer], _ANCILLARY
                )
            except BlockingIOError:
                return
            except OSError:
                # ICMP errors of answers sent earlier are reported here; nobody waits for them.
                continue
            local = _local_address(ancillary)
            if local is not None:
                self._pass_on((sender[0], sender[1]), local, self._packet[:count])

    def _pass_on(self, client: Address, local: Address, data: memoryview) -> None:
        session = self._sessions.get((client, local))
        if session is not None and session.is_stale():
            session.finish(Ending.CLOSED, "endpoint removed")
            session = None
        if session is None:
            session = self._open(client, local)
            if session is None:
                return
        self._handling = session
        session.send(data)
        self._handling = None

    def _open(self, client: Address, local: Address) -> Session | None:
        """Begin a session; None when it is refused or has failed, which is counted then."""
        destination: Address | None = local
        if self._original_destination is not None:
            destination = self._original_destination(client, local)
        context = self._context
        if destination is None:
            context.reports.turned_away(Transport.UDP, Refusal.SELF_DESTINATION)
            return None
        facts = FlowFacts(Transport.UDP, client, destination)
        verdict = context.decider.decide(facts)
        if verdict.refusal is not None:
            context.reports.turned_away(Transport.UDP, verdict.refusal)
            return None
        if len(self._sessions) >= context.settings.max_udp_sessions:
            longest_silent = next(iter(self._sessions.values()))
            longest_silent.finish(Ending.EVICTED, "a newer session needed its place")
        session = Session(
            context, self._sessions, self._answering, (client, local), facts=facts, verdict=verdict
        )
        self._handling = session
        return session if session.start() else None


def _local_address(ancillary: list[tuple[int, int, bytes]] | Any) -> Address | None:
    for level, kind, data in ancillary:
        if (level, kind) in _ORIGINAL:
            return unpack_address(data)
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, data[8:12]), 0
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, data[:16]), 0
    return None
