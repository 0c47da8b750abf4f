"""One client's datagrams to one service address.

A session ends with silence, with the endpoint's removal, when all endpoints refuse, or when a
newer session needs its place.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict, deque

from edgemesh.kernel.sockets import (
    Address,
    Socket,
    dialling_socket,
    fin_on_close,
    is_own_address,
)
from edgemesh.model.flows import Ending, FlowFacts, Refusal
from edgemesh.model.services import Endpoint, Transport
from edgemesh.policy.deadlines import policy_or_setting
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.verdict import Verdict, caller_key, client_quota_wait
from edgemesh.proxy.connecting import connecting_stream, reason_of, source_address, taken_way
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.answering import Answers
from edgemesh.proxy.forward.attempt import Attempt, outcome_of_problem
from edgemesh.proxy.report import failure
from edgemesh.reactor.reactor import IN, OUT, Handler
from edgemesh.reactor.timers import Timer
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.host_port import joined

# The client, and the address at which its datagrams arrive.
SessionKey = tuple[Address, Address]

# Nobody is to blame for these; of others the other end of a stream learns by a reset.
IN_ORDER = frozenset({Ending.CLOSED, Ending.EVICTED, Ending.DRAIN})
# Answers taken from the endpoint at one event.
_BUDGET = 32
# Datagrams that are kept until a stream to the endpoint is open.
_EARLY = 16


class Session:
    """The stage of a UDP flow, and the handler of its socket to the endpoint.

    Ownership: that socket is the session's; what answers is borrowed.
    """

    __slots__ = (
        "_answering",
        "_attempt",
        "_attempts",
        "_borrowed",
        "_bytes_received",
        "_bytes_sent",
        "_context",
        "_deadline",
        "_early",
        "_endpoint",
        "_facts",
        "_key",
        "_last_active",
        "_port",
        "_sessions",
        "_started",
        "_swaps",
        "_tried",
        "_upstream",
        "_verdict",
        "_way",
    )

    def __init__(
        self,
        context: Context,
        sessions: Sessions,
        answering: Answers,
        key: SessionKey,
        *,
        facts: FlowFacts,
        verdict: Verdict,
    ) -> None:
        """Begin a flow and join ``sessions``; `start` connects it."""
        assert verdict.port is not None
        self._context = context
        self._sessions = sessions
        self._answering = answering
        self._borrowed = False
        self._key = key
        self._facts = facts
        self._verdict = verdict
        self._swaps = context.decider.swaps
        self._port = verdict.port
        self._tried: tuple[EndpointState, ...] = ()
        self._attempt: Attempt | None = None
        self._upstream: Socket | None = None
        self._way = ""
        self._early: deque[bytes] = deque(maxlen=_EARLY)
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
        return self._try(self._verdict.candidates[0])

    def is_inbound(self) -> bool:
        """Whether it stands in the place of an endpoint that could answer by itself."""
        return self._port.inbound

    def is_stale(self) -> bool:
        """Whether the endpoint is no longer one of the service's; looked up once per snapshot."""
        decider = self._context.decider
        if self._swaps == decider.swaps:
            return False
        self._swaps = decider.swaps
        facts = self._facts
        port = decider.called_port(Transport.UDP, facts.destination, facts.stream)
        mine = self._endpoint
        if port is None or mine is None:
            return True
        self._port = port
        return all((e.address, e.port) != (mine.address, mine.port) for e in port.endpoints)

    def send(self, data: memoryview) -> None:
        """Pass a client's datagram on; when the endpoint refuses, the next one gets it."""
        self._be_active()
        if not self._is_over_quota():
            self._pass_on(data)

    def _pass_on(self, data: memoryview) -> None:
        """The same for one that has taken its tokens."""
        while self._upstream is not None:
            try:
                self._upstream.send(data)
            except BlockingIOError:
                # The send buffer is full, and UDP may lose datagrams; those that wait for their
                # stream are not lost.
                if self._is_opening():
                    self._early.append(bytes(data))
                return
            except OSError as error:
                # ECONNREFUSED: an earlier datagram met a closed port (ICMP).
                self._connect_next(error.errno or errno.EIO)
                continue
            self._bytes_sent += len(data)
            return

    def on_events(self, events: int) -> None:
        """Answer with what the endpoint has sent, within the turn's budget."""
        if events & OUT and not self._is_opening():
            self._send_early()
        if self._upstream is None:
            return
        buffer = self._context.buffer
        for _ in range(_BUDGET):
            try:
                count = self._upstream.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOTCONN:
                    # Only streams have an end.
                    self.finish(Ending.CLOSED, "ended at the other end")
                else:
                    self._connect_next(error.errno or errno.EIO)
                return
            self._be_active()
            self._bytes_received += count
            if self._attempt is not None and not self._attempt.heard:
                self._attempt.hear()
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
        if self._attempt is not None:
            # Silence is no failure: not every datagram wants an answer.
            self._attempt.end(Outcome.CANCELLED)
        if self._upstream is not None:
            self._way = taken_way(self._upstream, self._way)
            if ending in IN_ORDER and isinstance(self._upstream, VirtualSocket):
                fin_on_close(self._upstream)
        self._hang_up()
        if self._borrowed:
            self._answering.give_back(self._facts.destination, ending)
        context.reports.end(
            context.decider.snapshot,
            self._facts,
            self._verdict,
            self._endpoint,
            attempts=self._attempts,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            duration=context.reactor.now - self._started,
            way=self._way,
            ending=ending,
            reason=reason,
        )

    def _is_over_quota(self) -> bool:
        """Take this datagram's tokens; without, it is dropped and counted."""
        policy = self._port.policy
        if policy.client_quota is None and policy.server.quota is None:
            return False
        context = self._context
        decider = context.decider
        facts = self._facts
        caller = caller_key(decider.snapshot, facts.client[0], facts.stream)
        now = context.reactor.now
        refusal: Refusal | None = None
        if client_quota_wait(decider.traffic, self._port, caller, now):
            refusal = Refusal.QUOTA
        elif self._attempt is not None:
            refusal = self._attempt.enter_datagram(self._port, caller)
        if refusal is not None:
            context.reports.dropped(self._port, refusal)
        return refusal is not None

    def _connect_next(self, problem: int) -> bool:
        """Go to the next endpoint since the last one had a problem (errno), or end."""
        failed, self._attempt = self._attempt, None
        assert failed is not None
        reason = reason_of(self._upstream) if self._upstream is not None else ""
        self._hang_up()
        failed.break_off(outcome_of_problem(problem))
        self._tried += (failed.state,)
        upstream = self._verdict.upstream
        assert upstream is not None
        context = self._context
        context.reports.connect_failed(self._verdict, failed.state.endpoint)
        state: EndpointState | Refusal | None = None
        if self._attempts < context.settings.connect_attempts:
            now = context.reactor.now
            state = upstream.choose_connection(self._verdict.call, now, self._tried)
        if isinstance(state, EndpointState) and state not in self._tried:
            return self._try(state)
        self.finish(Ending.CONNECT_FAILED, failure(failed.state.endpoint, problem, reason))
        return False

    def _try(self, state: EndpointState) -> bool:
        """Go to an endpoint, and to others when it fails at once; false when the session ends."""
        self._attempt = Attempt(self._context, self._verdict, state)
        self._endpoint = state.endpoint
        self._attempts += 1
        problem = self._connect(state.endpoint)
        if problem == 0:
            self._context.reports.connected(self._verdict, state.endpoint)
            return True
        return self._connect_next(problem)

    def _connect(self, endpoint: Endpoint) -> int:
        """Connect to one endpoint; an errno, ELOOP when it would call us."""
        context = self._context
        self._way = context.way_to(endpoint)
        if self._way:
            return self._connect_by_stream(endpoint)
        source = ""
        if self._facts.stream is None:
            source = source_address(self._facts.client[0], endpoint, self._verdict.source)
        try:
            if endpoint.port == context.settings.udp_port and is_own_address(endpoint.address):
                return errno.ELOOP
            sock = self._upstream = dialling_socket(
                endpoint.address,
                socket.SOCK_DGRAM,
                context.own_mark,
                source or None,
            )
            sock.connect((endpoint.address, endpoint.port))
        except OSError as error:
            return error.errno or errno.EIO
        context.reactor.watch(sock.fileno(), self, IN)
        return 0

    def _connect_by_stream(self, endpoint: Endpoint) -> int:
        """The same by the bus; datagrams are kept until the other end has accepted."""
        context = self._context
        target = self._verdict.target
        assert target is not None
        sock, problem = connecting_stream(context, target, endpoint, self._facts.client)
        if sock is not None:
            self._upstream = sock
            context.reactor.watch(sock.fileno(), self, IN | OUT)
        return problem

    def _is_opening(self) -> bool:
        """Whether the other end has yet to accept the stream."""
        return isinstance(self._upstream, VirtualSocket) and self._upstream.connecting

    def _send_early(self) -> None:
        """The stream is open: send what has waited for that."""
        assert self._upstream is not None
        self._context.reactor.watch(self._upstream.fileno(), self, IN)
        early, self._early = self._early, deque(maxlen=_EARLY)
        for data in early:
            self._pass_on(memoryview(data))

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._context.reactor.close(self._upstream)
            self._upstream = None

    def _be_active(self) -> None:
        self._last_active = self._context.reactor.now
        self._sessions.move_to_end(self._key)

    def _look_at_silence(self) -> None:
        context = self._context
        idle_seconds = policy_or_setting(
            self._port.policy.timeouts.idle, context.settings.udp_idle_timeout_seconds
        )
        if not idle_seconds:
            return
        left = self._last_active + idle_seconds - context.reactor.now
        if left > 0:
            self._deadline = context.reactor.after(left, self, self._look_at_silence)
        else:
            self.finish(Ending.CLOSED, "silent")


# All sessions, the longest silent one first.
Sessions = OrderedDict[SessionKey, Session]
