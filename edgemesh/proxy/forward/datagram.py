"""The relay path for UDP: sessions by (client, destination), answers from the service's address.

A session begins with a client's first datagram and ends with silence, with the endpoint's
removal, or when a newer session needs its place. Datagrams are passed on whole, up to the
largest there are.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from edgemesh.kernel.sockets import (
    IP_PKTINFO,
    IP_RECVORIGDSTADDR,
    IPV6_RECVORIGDSTADDR,
    answering_socket,
    dialling_socket,
    unpack_address,
)
from edgemesh.model.flows import Ending, FlowFacts, Refusal, Verdict
from edgemesh.model.services import Endpoint, Snapshot, Source, Transport
from edgemesh.proxy.reactor import IN

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgemesh.proxy.plane import Plane

Address = tuple[str, int]
Ancillary = list[tuple[int, int, bytes]]

# Datagrams taken from one socket at one event.
_BUDGET = 32
_LARGEST = 65535
_ANCILLARY = socket.CMSG_SPACE(28)


class DatagramAcceptor:
    """The handler of one UDP listener, and the sessions that began there."""

    def __init__(
        self,
        plane: Plane,
        listener: socket.socket,
        original_destination: Callable[[Address, Address], Address | None] | None,
    ) -> None:
        """Prepare; `start` registers.

        Args:
            plane: the data plane that sessions belong to.
            listener: from `udp_listener`; the caller closes it.
            original_destination: under REDIRECT, asked with the client and the local address
                for where a datagram was going; None under TPROXY, where the kernel says it.
        """
        self.plane = plane
        self._listener = listener
        self._original_destination = original_destination
        self.sessions: OrderedDict[tuple[Address, Address], _Session] = OrderedDict()
        self._answering: dict[Address, tuple[socket.socket, int]] = {}
        self._packet_buffer = bytearray(_LARGEST)
        self._packet = memoryview(self._packet_buffer)

    def start(self) -> None:
        """Take datagrams from now on."""
        self.plane.reactor.watch(self._listener.fileno(), self, IN)

    def stop(self) -> None:
        """Take no more datagrams from clients; sessions go on with what is under way."""
        self.plane.reactor.unregister(self._listener.fileno())

    def on_bug(self, error: Exception) -> None:
        """Go on: the failure was of one datagram."""

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
            client = (sender[0], sender[1])
            local = _local_address(ancillary)
            if local is not None:
                self._pass_on(client, local, self._packet[:count])

    def _pass_on(self, client: Address, local: Address, data: memoryview) -> None:
        key = (client, local)
        session = self.sessions.get(key)
        if session is not None and session.is_stale():
            session.finish(Ending.CLOSED, "endpoint removed")
            session = None
        if session is None:
            session = self._open(client, local)
            if session is None:
                return
        else:
            self.sessions.move_to_end(key)
        session.send(data)

    def _open(self, client: Address, local: Address) -> _Session | None:
        destination: Address | None = local
        if self._original_destination is not None:
            destination = self._original_destination(client, local)
        plane = self.plane
        if destination is None:
            plane.reports.turned_away(Transport.UDP, Refusal.SELF_DESTINATION)
            return None
        facts = FlowFacts(Transport.UDP, client, destination)
        verdict = plane.decider.decide(facts)
        if verdict.refusal is not None:
            plane.reports.turned_away(Transport.UDP, verdict.refusal)
            return None
        if len(self.sessions) >= plane.settings.max_udp_sessions:
            oldest = next(iter(self.sessions.values()))
            oldest.finish(Ending.EVICTED, "a newer session needed its place")
        session = _Session(self, (client, local), facts, verdict)
        self.sessions[(client, local)] = session
        return session

    def answer(self, session: _Session, data: memoryview) -> None:
        """Send to the session's client from the address that it called."""
        client, local = session.key
        if self._original_destination is None:
            session.answering.sendto(data, client)
            return
        if ":" in local[0]:
            packet_info = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, local[0]), 0)
            control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packet_info)]
        else:
            packet_info = struct.pack("=I4s4s", 0, socket.inet_aton(local[0]), b"\0\0\0\0")
            control = [(socket.IPPROTO_IP, IP_PKTINFO, packet_info)]
        self._listener.sendmsg([data], control, 0, client)

    def borrow_answering(self, service: Address) -> socket.socket:
        """The socket that answers from ``service``, shared by the sessions that call it.

        Raises:
            OSError: it cannot be made.
        """
        if self._original_destination is not None:
            return self._listener
        kept = self._answering.get(service)
        sock, users = kept or (answering_socket(service, self.plane.own_mark), 0)
        self._answering[service] = (sock, users + 1)
        return sock

    def give_back_answering(self, service: Address) -> None:
        """Close the answering socket with its last user."""
        kept = self._answering.get(service)
        if kept is None:
            return
        sock, users = kept
        if users > 1:
            self._answering[service] = (sock, users - 1)
        else:
            del self._answering[service]
            sock.close()


class _Session:
    """One client's datagrams to one service address."""

    __slots__ = (
        "_acceptor",
        "_candidates",
        "_deadline",
        "_facts",
        "_last_active",
        "_snapshot",
        "_started",
        "_upstream",
        "_verdict",
        "answering",
        "attempts",
        "bytes_received",
        "bytes_sent",
        "endpoint",
        "key",
    )

    def __init__(
        self,
        acceptor: DatagramAcceptor,
        key: tuple[Address, Address],
        facts: FlowFacts,
        verdict: Verdict,
    ) -> None:
        reactor = acceptor.plane.reactor
        self._acceptor = acceptor
        self.key = key
        self._facts = facts
        self._verdict = verdict
        self._snapshot = acceptor.plane.decider.snapshot
        self._candidates = iter(verdict.candidates)
        self._upstream: socket.socket | None = None
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._started = self._last_active = reactor.now
        acceptor.plane.reports.begin(Transport.UDP)
        self.answering = acceptor.borrow_answering(facts.destination)
        idle = acceptor.plane.settings.udp_idle_timeout_seconds
        self._deadline = reactor.after(idle, self, self._look_at_silence)

    def is_stale(self) -> bool:
        """Whether the endpoint is no longer one of the service's; looked up once per snapshot."""
        plane = self._acceptor.plane
        snapshot = plane.decider.snapshot
        if snapshot is self._snapshot:
            return False
        self._snapshot = snapshot
        port = _port_of(snapshot, self._facts.destination)
        return port is None or self.endpoint not in port

    def send(self, data: memoryview) -> None:
        """Pass a client's datagram on; when the endpoint refuses, the next one is tried."""
        self._last_active = self._acceptor.plane.reactor.now
        while self._upstream is not None or self._connect():
            assert self._upstream is not None
            try:
                self._upstream.send(data)
            except BlockingIOError:
                return  # The send buffer is full; UDP may lose datagrams.
            except OSError:
                # ECONNREFUSED: an earlier datagram met a closed port (ICMP).
                self._hang_up()
                continue
            self.bytes_sent += len(data)
            return
        self.finish(Ending.CONNECT_FAILED, "no endpoint takes datagrams")

    def _connect(self) -> bool:
        plane = self._acceptor.plane
        for endpoint in self._candidates:
            self.endpoint = endpoint
            self.attempts += 1
            client = self.key[0][0]
            preserve = self._verdict.source is Source.PRESERVE and (
                (":" in client) is endpoint.is_ipv6
            )
            sock = None
            try:
                sock = dialling_socket(
                    endpoint.address,
                    socket.SOCK_DGRAM,
                    plane.own_mark,
                    client if preserve else None,
                )
                sock.connect((endpoint.address, endpoint.port))
            except OSError:
                if sock is not None:
                    sock.close()
                continue
            self._upstream = sock
            plane.reactor.watch(sock.fileno(), self, IN)
            return True
        return False

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._acceptor.plane.reactor.close(self._upstream)
            self._upstream = None

    def on_events(self, events: int) -> None:  # noqa: ARG002 - recv() tells errors too
        """Answer with what the endpoint has sent, within the turn's budget."""
        buffer = self._acceptor.plane.buffer
        for _ in range(_BUDGET):
            if self._upstream is None:
                return
            try:
                count = self._upstream.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            self._last_active = self._acceptor.plane.reactor.now
            self.bytes_received += count
            try:
                self._acceptor.answer(self, buffer[:count])
            except OSError:
                continue  # The client's node says no, or a buffer is full: this one is lost.

    def on_bug(self, error: Exception) -> None:
        """End the session."""
        self.finish(Ending.ERROR, type(error).__name__)

    def finish(self, ending: Ending, reason: str = "") -> None:
        """End and report the session; a second call does nothing."""
        acceptor = self._acceptor
        if acceptor.sessions.pop(self.key, None) is None:
            return
        self._deadline.cancel()
        self._hang_up()
        acceptor.give_back_answering(self._facts.destination)
        plane = acceptor.plane
        plane.reports.end(
            plane.decider.snapshot,
            self._facts,
            self._verdict,
            self.endpoint,
            attempts=self.attempts,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            duration=plane.reactor.now - self._started,
            ending=ending,
            reason=reason,
        )

    def _look_at_silence(self) -> None:
        plane = self._acceptor.plane
        allowed = plane.settings.udp_idle_timeout_seconds
        left = self._last_active + allowed - plane.reactor.now
        if left <= 0:
            self.finish(Ending.CLOSED, "silent")
        else:
            self._deadline = plane.reactor.after(left, self, self._look_at_silence)


def _port_of(snapshot: Snapshot, destination: Address) -> tuple[Endpoint, ...] | None:
    port = snapshot.udp.get(destination) or snapshot.udp_node_ports.get(destination[1])
    return port.endpoints if port else None


def _local_address(ancillary: Ancillary | Any) -> Address | None:
    for level, kind, data in ancillary:
        if (level, kind) in _ORIGINAL:
            return unpack_address(data)
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, data[8:12]), 0
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, data[:16]), 0
    return None


_ORIGINAL = {
    (socket.IPPROTO_IP, IP_RECVORIGDSTADDR),
    (socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR),
}
