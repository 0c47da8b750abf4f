"""One client's connection: what it says is read here, request by request.

Requests are read one at a time: what a client sends ahead of an answer (pipelining, RFC 9112
section 9.3.2) waits in a bounded buffer, then in the kernel.
"""

from __future__ import annotations

import os
import socket

from edgemesh.model.flows import Ending, Refusal
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import malformed
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http1.carrier import RequestCarrier
from edgemesh.proxy.http1.deadlines import NEVER, Deadlines
from edgemesh.proxy.http2 import client as http2
from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
from edgemesh.wire.http1.heads import MalformedBody, MalformedHead, RequestHead
from edgemesh.wire.http2_preface import recognise_preface

_READABLE = IN | HANGUP_IN | HANGUP | ERROR


def serve(flow: Flow) -> None:
    """Serve a client that speaks HTTP/1 from now on; nothing of what it said has been read."""
    ClientConnection(flow).start()


class ClientConnection:
    """The stage of a flow, and the handler of its client's socket."""

    __slots__ = (
        "_active",
        "_buffer",
        "_carrier",
        "_closing",
        "_context",
        "_deadlines",
        "_ended",
        "_fd",
        "_flow",
        "_head_began",
        "_newcomer",
        "_plan",
        "_read_bytes",
        "_serving",
        "_sock",
        "_swaps",
        "_watched",
    )

    def __init__(self, flow: Flow) -> None:
        context = self._context = flow.context
        self._flow = flow
        self._sock = flow.client
        self._fd = flow.client.fileno()
        self._carrier = RequestCarrier(flow, self)
        self._deadlines = Deadlines(context.reactor, self)
        self._plan: PortPlan | None = None
        self._swaps = -1
        self._read_bytes = context.settings.relay_buffer_bytes
        self._buffer = b""
        self._active = self._head_began = context.reactor.now
        self._serving = False
        self._ended = False
        self._closing = False
        self._newcomer = True
        self._watched = -1

    def start(self) -> None:
        """Wait for the first request."""
        self._flow.stage = self
        self._context.http.connections.add(self)
        self._deadlines.by(self.due())
        self.watch()

    # Bytes from the client.

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self._carrier.out.unsent:
            self._send_unsent()
            if not self._flow.held_by(self):
                return
        if self._watched & IN:
            if events & _READABLE:
                self._read()
        elif events & (ERROR | HANGUP):
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._flow.finish(Ending.CLIENT_RESET, os.strerror(code) if code else "")

    def on_bug(self, error: Exception) -> None:
        """End the connection."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def _read(self) -> None:
        try:
            data = self._sock.recv(self._read_bytes)
        except BlockingIOError:
            return
        except OSError as error:
            self._flow.finish(Ending.CLIENT_RESET, error.strerror or "")
            return
        if not data:
            self._end_of_stream()
            return
        self._flow.bytes_sent += len(data)
        self._active = self._context.reactor.now
        carrier = self._carrier
        if self._closing:
            return
        if carrier.busy and not carrier.body.is_complete:
            self._take_body(data)
            return
        if self._buffer:
            self._buffer += data
        else:
            self._head_began = self._active
            if not carrier.busy:
                head = self._context.http.heads.requests.young.get(data)
                if head is not None:
                    self._begin(head, b"")
                    return
            self._buffer = data
        if not carrier.busy:
            self._next_requests()
        elif len(self._buffer) >= self._context.http.settings.pipeline_bytes:
            self.watch()

    def _end_of_stream(self) -> None:
        self._ended = True
        if not self._carrier.busy:
            self._flow.finish(Ending.CLOSED, reset=False)
        elif self._carrier.body.is_complete:
            # It still waits for its answer: a half-closed connection is none that was given up.
            self.watch()
        else:
            self._flow.finish(Ending.CLIENT_RESET, "closed in the middle of a request")

    def _take_body(self, data: bytes) -> None:
        try:
            count = self._carrier.take_body(data)
        except MalformedBody as error:
            if self._carrier.exchange.status:
                self._flow.finish(Ending.CLIENT_RESET, f"malformed: {error.reason}")
            else:
                self._malformed(400, error.reason)
            return
        self._buffer = data[count:]

    # Requests.

    def _next_requests(self) -> None:
        """Begin what has come; with answers of our own more than one may be begun and ended."""
        if self._serving:
            return
        self._serving = True
        carrier = self._carrier
        heads = self._context.http.heads
        while self._buffer and not carrier.busy and not self._closing and not carrier.out.unsent:
            if self._newcomer and self._speaks_http2():
                break
            try:
                head = heads.read_request(self._buffer, 0)
            except MalformedHead as error:
                self._malformed(error.status, error.reason)
                break
            if head is None:
                self._deadlines.by(self.due())
                break
            rest, self._buffer = self._buffer[head.size :], b""
            self._begin(head, rest)
        self._serving = False
        if self._ended and not carrier.busy and not self._closing and self._flow.held_by(self):
            self._flow.finish(Ending.CLOSED, reset=False)

    def _speaks_http2(self) -> bool:
        """Hand a client over that speaks HTTP/2 where HTTP is all that was declared."""
        recognised = recognise_preface(self._buffer)
        if recognised:
            flow, heard = self._flow, self.leave()
            self._context.reactor.unregister(self._fd)
            flow.application_protocol = "http2"
            flow.bytes_sent = 0
            http2.serve(flow, heard)
        return recognised is not False

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        plan = self._plan if self._swaps == self._context.decider.swaps else self._current_plan()
        carrier = self._carrier
        self._flow.requests += 1
        carrier.begin(head, plan)
        if plan is None:
            if carrier.body.is_complete:
                self._buffer = rest
            return
        if rest and not carrier.body.is_complete:
            self._take_body(rest)
            if not carrier.busy:
                return
        else:
            self._buffer = rest
        self._head_began = self._active
        exchange = carrier.exchange
        exchange.begin()
        carrier.pause()
        if self._newcomer:
            self._become_known()
        if exchange.deadline or exchange.try_deadline:
            self._deadlines.by(self.due())
        elif self._active + plan.idle_seconds < self._deadlines.at and plan.idle_seconds:
            self._deadlines.by(self._active + plan.idle_seconds)

    def _become_known(self) -> None:
        """From its first request on a connection is attended to before newcomers."""
        self._newcomer = False
        if self._flow.held_by(self):
            self._watched = -1
            self.watch()

    def _current_plan(self) -> PortPlan | None:
        context = self._context
        decider = context.decider
        if self._swaps != decider.swaps:
            self._swaps = decider.swaps
            port = self._flow.called_port()
            self._plan = context.http.plans.renewed(port, self._plan)
        return self._plan

    def _malformed(self, status: int, why: str) -> None:
        """Refuse what is no valid request: nobody knows where the next one begins."""
        plan = self._current_plan()
        self._context.reports.refused_request(plan.port if plan else None, Refusal.MALFORMED)
        self._carrier.answer(malformed(status, why))

    # As its carrier has it.

    def response_is_over(self) -> None:
        """The client was given a response, all of it but what it does not take yet."""
        carrier = self._carrier
        carrier.busy = False
        if not self._flow.held_by(self):
            return
        if not carrier.keep:
            self._closing = True
        if not carrier.out.unsent:
            if self._closing:
                self._close()
            elif self._buffer or self._ended:
                self._next_requests()
        if not self._watched & IN and self._flow.held_by(self):
            self.watch()

    def broken(self, why: str) -> None:
        """The response has ended in its middle."""
        self._flow.finish(Ending.ENDPOINT_RESET, why)

    def leave(self) -> bytes:
        """Let go of the flow; what was read of it and not used is the caller's now."""
        self._leave_behind()
        return self._buffer

    def _send_unsent(self) -> None:
        carrier = self._carrier
        if not carrier.out.send_unsent():
            return
        self._active = self._context.reactor.now
        if carrier.upstream is not None:
            carrier.upstream.watch()
        elif not carrier.busy:
            self.response_is_over()
        if self._flow.held_by(self):
            self.watch()

    def _close(self) -> None:
        """End the connection so that the client gets to read the answer.

        A socket that is closed with unread bytes resets the connection, and takes back what was
        sent before (RFC 9112 section 9.6): so what still comes is read for a while.
        """
        if self._ended or (self._carrier.body.is_complete and not self._buffer):
            self._flow.finish(Ending.CLOSED, reset=False)
            return
        self._sock.shutdown(socket.SHUT_WR)
        self._buffer = b""
        self._active = self._context.reactor.now
        self._deadlines.by(self.due())

    def stop(self) -> None:
        """Let go of everything: as the flow's stage."""
        self._leave_behind()
        self._carrier.give_up()

    def drain(self) -> None:
        """Close the connection after its request, or soon if none comes."""
        self._active = self._head_began = self._context.reactor.now
        self._deadlines.by(self.due())

    def _leave_behind(self) -> None:
        self._deadlines.stop()
        self._context.http.connections.discard(self)

    # Deadlines.

    def due(self) -> float:
        """When something has taken too long."""
        settings = self._context.http.settings
        if self._closing:
            return self._active + settings.linger_seconds
        if not self._carrier.busy:
            if self._context.draining:
                return self._active + settings.drain_idle_seconds
            if self._buffer or self._newcomer:
                return self._head_began + settings.head_timeout_seconds
            return max(self._active, self._carrier.active) + settings.keepalive_timeout_seconds
        exchange = self._carrier.exchange
        active = max(self._active, self._carrier.active)
        idle = active + (exchange.target.idle_seconds or NEVER)
        try_deadline = 0.0 if exchange.status else exchange.try_deadline
        return min(idle, exchange.deadline or NEVER, try_deadline or NEVER)

    def expire(self) -> None:
        """End what has taken too long."""
        carrier = self._carrier
        if self._closing or not carrier.busy:
            if self._buffer and not self._closing:
                self._malformed(408, "the request's head took too long")
            else:
                self._flow.finish(Ending.IDLE_TIMEOUT, reset=False)
        elif carrier.exchange.status:
            carrier.busy = False
            carrier.exchange.broken(Outcome.TIMEOUT, "timeout")
            self._flow.finish(Ending.IDLE_TIMEOUT, "the response took too long")
        else:
            carrier.drop_upstream()
            carrier.exchange.expired()
            self._deadlines.by(self.due())

    def watch(self) -> None:
        """Register for what this side can act on now."""
        wanted = IN | HANGUP_IN if self._may_read() else 0
        if self._carrier.out.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            reactor = self._context.reactor
            register = reactor.watch_newcomer if self._newcomer else reactor.watch
            register(self._fd, self, wanted)

    def _may_read(self) -> bool:
        carrier = self._carrier
        if self._ended:
            return False
        if not carrier.busy:
            return self._closing or not carrier.out.unsent
        if carrier.body.is_complete:
            return len(self._buffer) < self._context.http.settings.pipeline_bytes
        return carrier.upstream is not None and carrier.upstream.is_ready
