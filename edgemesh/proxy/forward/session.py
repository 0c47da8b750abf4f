"""One client's datagrams to one service address.

A session ends with silence, with the endpoint's removal, when all endpoints refuse, or when a
newer session needs its place.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict

from edgemesh.kernel.sockets import Address, dialling_socket, is_own_address
from edgemesh.model.flows import Ending, FlowFacts, Verdict
from edgemesh.model.services import Endpoint, Source, Transport
from edgemesh.policy.verdict import find_port
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.answering import Answering
from edgemesh.proxy.reactor import IN, Handler
from edgemesh.proxy.report import failure
from edgemesh.proxy.timers import Timer
from edgemesh.wire.host_port import joined

# The client, and the address at which its datagrams arrive.
SessionKey = tuple[Address, Address]

# Answers taken from the endpoint at one event.
_BUDGET = 32


class Session:
    """The stage of a UDP flow, and the handler of its socket to the endpoint.

    Ownership: that socket is the session's; what answers is borrowed.
    """

    __slots__ = (
        "_answering",
        "_attempts",
        "_borrowed",
        "_bytes_received",
        "_bytes_sent",
        "_candidates",
        "_context",
        "_deadline",
        "_endpoint",
        "_facts",
        "_key",
        "_last_active",
        "_sessions",
        "_started",
        "_swaps",
        "_upstream",
        "_verdict",
    )

    def __init__(
        self,
        context: Context,
        sessions: Sessions,
        answering: Answering,
        key: SessionKey,
        *,
        facts: FlowFacts,
        verdict: Verdict,
    ) -> None:
        """Begin a flow and join ``sessions``; `start` connects it."""
        self._context = context
        self._sessions = sessions
        self._answering = answering
        self._borrowed = False
        self._key = key
        self._facts = facts
        self._verdict = verdict
        self._swaps = context.decider.swaps
        self._candidates = iter(verdict.candidates)
        self._upstream: socket.socket | None = None
        self._endpoint: Endpoint | None = None
        self._deadline: Timer[Handler] | None = None
        self._attempts = 0
        self._bytes_sent = 0
        self._bytes_received = 0
        self._started = self._last_active = context.reactor.now
        self._sessions[key] = self
        context.reports.begin(Transport.UDP)

    def start(self) -> bool:
        """Get ready to send and to answer; false when that failed and the session is over."""
        destination = self._facts.destination
        try:
            self._answering.borrow(destination)
        except OSError as error:
            where = joined(*destination)
            self.finish(Ending.ERROR, f"cannot answer from {where}: {error.strerror}")
            return False
        self._borrowed = True
        self._look_at_silence()
        return self._connect_next(0)

    def is_stale(self) -> bool:
        """Whether the endpoint is no longer one of the service's; looked up once per snapshot."""
        decider = self._context.decider
        if self._swaps == decider.swaps:
            return False
        self._swaps = decider.swaps
        port = find_port(decider.snapshot, Transport.UDP, self._facts.destination)
        mine = self._endpoint
        return (
            port is None
            or mine is None
            or all((e.address, e.port) != (mine.address, mine.port) for e in port.endpoints)
        )

    def send(self, data: memoryview) -> None:
        """Pass a client's datagram on; when the endpoint refuses, the next one gets it."""
        self._be_active()
        while self._upstream is not None:
            try:
                self._upstream.send(data)
            except BlockingIOError:
                return  # The send buffer is full; UDP may lose datagrams.
            except OSError as error:
                # ECONNREFUSED: an earlier datagram met a closed port (ICMP).
                self._connect_next(error.errno or errno.EIO)
                continue
            self._bytes_sent += len(data)
            return

    def on_events(self, events: int) -> None:  # noqa: ARG002 - recv() tells errors too
        """Answer with what the endpoint has sent, within the turn's budget."""
        assert self._upstream is not None
        buffer = self._context.buffer
        for _ in range(_BUDGET):
            try:
                count = self._upstream.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._connect_next(error.errno or errno.EIO)
                return
            self._be_active()
            self._bytes_received += count
            try:
                self._answering.send(*self._key, buffer[:count])
            except OSError:
                continue  # The client's node says no, or a buffer is full: this one is lost.

    def on_bug(self, error: Exception) -> None:
        """End the session."""
        self.finish(Ending.ERROR, type(error).__name__)

    def finish(self, ending: Ending, reason: str = "") -> None:
        """End and report the session; a second call does nothing."""
        context = self._context
        if self._sessions.pop(self._key, None) is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._hang_up()
        if self._borrowed:
            self._answering.give_back(self._facts.destination)
        context.reports.end(
            context.decider.snapshot,
            self._facts,
            self._verdict,
            self._endpoint,
            attempts=self._attempts,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            duration=context.reactor.now - self._started,
            ending=ending,
            reason=reason,
        )

    def _connect_next(self, problem: int) -> bool:
        """Go to the next endpoint since the last one had a problem (errno), or end."""
        reports = self._context.reports
        if problem and self._endpoint is not None:
            reports.connect_failed(self._verdict, self._endpoint)
        self._hang_up()
        for endpoint in self._candidates:
            self._endpoint = endpoint
            self._attempts += 1
            problem = self._connect(endpoint)
            if problem == 0:
                reports.connected(self._verdict, endpoint)
                return True
            reports.connect_failed(self._verdict, endpoint)
            self._hang_up()
        assert self._endpoint is not None
        self.finish(Ending.CONNECT_FAILED, failure(self._endpoint, problem))
        return False

    def _connect(self, endpoint: Endpoint) -> int:
        """Connect to one endpoint; an errno, ELOOP when it would call us."""
        context = self._context
        client = self._key[0][0]
        preserve = self._verdict.source is Source.PRESERVE and ((":" in client) is endpoint.is_ipv6)
        try:
            if endpoint.port == context.settings.udp_port and is_own_address(endpoint.address):
                return errno.ELOOP
            self._upstream = dialling_socket(
                endpoint.address,
                socket.SOCK_DGRAM,
                context.own_mark,
                client if preserve else None,
            )
            self._upstream.connect((endpoint.address, endpoint.port))
        except OSError as error:
            return error.errno or errno.EIO
        context.reactor.watch(self._upstream.fileno(), self, IN)
        return 0

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._context.reactor.close(self._upstream)
            self._upstream = None

    def _be_active(self) -> None:
        self._last_active = self._context.reactor.now
        self._sessions.move_to_end(self._key)

    def _look_at_silence(self) -> None:
        context = self._context
        left = self._last_active + context.settings.udp_idle_timeout_seconds - context.reactor.now
        if left > 0:
            self._deadline = context.reactor.after(left, self, self._look_at_silence)
        else:
            self.finish(Ending.CLOSED, "silent")


# All sessions, the longest silent one first.
Sessions = OrderedDict[SessionKey, Session]
