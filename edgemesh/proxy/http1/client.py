"""One client's connection: its requests, one after the other.

Requests are read one at a time: what a client sends ahead of an answer (pipelining, RFC 9112
section 9.3.2) waits in a bounded buffer, then in the kernel. A request's head is forwarded as it
came unless something in it has to change; its body goes on as it comes, and is kept for another
try as long as it is short and no response has begun.
"""

from __future__ import annotations

import os
import socket

from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.policies import RetryOn
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.connecting import source_address
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import Answer, malformed, refuse
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http1.answering import answer_bytes
from edgemesh.proxy.http1.body import RequestBody
from edgemesh.proxy.http1.deadlines import NEVER, Deadlines
from edgemesh.proxy.http1.heads import request_head, response_head
from edgemesh.proxy.http1.outgoing import Outgoing
from edgemesh.proxy.http1.tunnel import tunnel
from edgemesh.proxy.http1.upstream import UpstreamConnection
from edgemesh.proxy.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
from edgemesh.wire.http1.heads import MalformedBody, MalformedHead, RequestHead, ResponseHead

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
_PROTOCOLS = ("http/1.0", "http/1.1")


def serve(flow: Flow) -> None:
    """Serve a client that speaks HTTP/1 from now on; nothing of what it said has been read."""
    ClientConnection(flow).start()


class ClientConnection:
    """The stage of a flow, the handler of its socket, and the carrier of its exchanges.

    Attributes:
        exchange: of the request that is served now, or was last.
        method: of that request.
        out: what goes to the client.
    """

    __slots__ = (
        "_active",
        "_body",
        "_buffer",
        "_busy",
        "_call",
        "_closing",
        "_context",
        "_deadlines",
        "_ended",
        "_fd",
        "_flow",
        "_head",
        "_head_began",
        "_keep",
        "_newcomer",
        "_plan",
        "_serving",
        "_sock",
        "_swaps",
        "_upstream",
        "_watched",
        "exchange",
        "method",
        "out",
    )

    exchange: Exchange
    _head: RequestHead

    def __init__(self, flow: Flow) -> None:
        context = self._context = flow.context
        self._flow = flow
        self._sock = flow.client
        self._fd = flow.client.fileno()
        self._call = Call(flow.client_address[0], ":" in flow.destination[0], None)
        self._body = RequestBody(context.http.settings)
        self._deadlines = Deadlines(context.reactor, self)
        self._plan: PortPlan | None = None
        self._swaps = -1
        self._buffer = b""
        self._upstream: UpstreamConnection | None = None
        self._active = self._head_began = context.reactor.now
        self._busy = False
        self._serving = False
        self._keep = False
        self._ended = False
        self._closing = False
        self._newcomer = True
        self._watched = -1
        self.method = ""
        self.out = Outgoing(flow)

    def start(self) -> None:
        """Wait for the first request."""
        self._flow.stage = self
        self._deadlines.by(self._active + self._context.http.settings.head_timeout_seconds)
        self._watch()

    # Bytes from the client.

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self.out.unsent:
            self._send_unsent()
            if self._flow.stage is not self:
                return
        if not events & _READABLE:
            return
        if self._watched & IN:
            self._read()
        elif events & (ERROR | HANGUP):
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._flow.finish(Ending.CLIENT_RESET, os.strerror(code) if code else "")

    def on_bug(self, error: Exception) -> None:
        """End the connection."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def _read(self) -> None:
        buffer = self._context.relay_buffer
        try:
            count = self._sock.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._flow.finish(Ending.CLIENT_RESET, error.strerror or "")
            return
        if not count:
            self._end_of_stream()
            return
        self._flow.bytes_sent += count
        self._active = self._context.reactor.now
        if self._closing:
            return
        data = bytes(buffer[:count])
        if self._busy and not self._body.is_complete:
            self._take_body(data)
            return
        if not self._buffer:
            self._head_began = self._active
            self._buffer = data
        else:
            self._buffer += data
        if not self._busy:
            self._next_requests()
        elif len(self._buffer) >= self._context.http.settings.pipeline_bytes:
            self._watch()

    def _end_of_stream(self) -> None:
        self._ended = True
        if self._busy and self._body.is_complete:
            # It still waits for its answer: a half-closed connection is none that was given up.
            self._watch()
        elif self._busy:
            self._flow.finish(Ending.CLIENT_RESET, "closed in the middle of a request")
        else:
            self._flow.finish(Ending.CLOSED, reset=False)

    def _take_body(self, data: bytes) -> None:
        try:
            count = self._body.take(data)
        except MalformedBody as error:
            self.exchange.cancelled()
            self._malformed(400, error.reason)
            return
        if count < len(data):
            self._buffer = data[count:]
            data = data[:count]
        self.exchange.bytes_sent += count
        upstream = self._upstream
        if upstream is not None and upstream.is_ready:
            upstream.send(data)
            if upstream.unsent:
                self._watch()

    # Requests.

    def _next_requests(self) -> None:
        """Begin what has come; with answers of our own more than one may be begun and ended."""
        if self._serving:
            return
        self._serving = True
        while self._buffer and not self._busy and not self._closing and not self.out.unsent:
            try:
                head = self._context.http.heads.read_request(self._buffer, 0)
            except MalformedHead as error:
                self._malformed(error.status, error.reason)
                break
            if head is None:
                self._deadlines.by(self.due())
                break
            self._begin(head)
        self._serving = False
        if not self._busy and self._ended and not self._closing and self._flow.stage is self:
            self._flow.finish(Ending.CLOSED, reset=False)

    def _begin(self, head: RequestHead) -> None:
        buffer = self._buffer
        rest = buffer[head.size :] if len(buffer) > head.size else b""
        context = self._context
        plan = self._current_plan()
        self._head = head
        self.method = head.method
        self._busy = True
        self._keep = head.keep_alive
        body = self._body
        body.begin(head)
        if plan is None:
            self.answer(refuse(Refusal.NO_SERVICE))
            return
        exchange = self.exchange = Exchange(
            context,
            self._flow,
            self,
            plan,
            self._call,
            request=head,
            protocol=_PROTOCOLS[head.minor],
        )
        if rest and not body.is_complete:
            try:
                count = body.take(rest)
            except MalformedBody as error:
                self._malformed(400, error.reason)
                return
            exchange.bytes_sent = count
            rest = rest[count:]
        self._buffer = rest
        self._head_began = self._active
        self._flow.requests += 1
        exchange.begin()
        if self._newcomer:
            self._newcomer = False
            if self._flow.stage is self:
                self._watched = -1
                self._watch()
        due = self._active + plan.idle_seconds
        if due < self._deadlines.at or exchange.deadline or exchange.try_deadline:
            self._deadlines.by(self.due())

    def _current_plan(self) -> PortPlan | None:
        context = self._context
        decider = context.decider
        if self._swaps != decider.swaps:
            self._swaps = decider.swaps
            port = decider.declared_port(self._flow.destination)
            self._plan = context.http.plans.of(port) if port is not None else None
        return self._plan

    # As the exchange's carrier.

    def forward(self, state: EndpointState) -> None:
        """Send the request to this endpoint, on a connection that waits or a new one."""
        self._drop_upstream()
        http = self._context.http
        target = self.exchange.target
        self._flow.endpoint = endpoint = state.endpoint
        self._flow.attempts += 1
        key = (state, source_address(self._call.client, endpoint, target.port.source))
        upstream = http.pool.take(key)
        if upstream is None:
            calls = target.upstream
            if not http.pool.make_room(calls, target.policy.limits.max_connections):
                if not http.pool.wait(self, calls):
                    self.exchange.overflowed()
                return
            upstream = UpstreamConnection(self._context, key, calls)
            problem = upstream.dial(target.connect_seconds)
            if problem:
                self.exchange_failed(RetryOn.CONNECT_FAILURE, os.strerror(problem), untouched=True)
                return
        self._upstream = upstream
        upstream.start(self)
        if not self._body.is_complete:
            self._watch()

    def connection_is_free(self) -> None:
        """Take or open the connection that was waited for."""
        if self._busy and self._upstream is None and self.exchange.state is not None:
            self.forward(self.exchange.state)

    def can_repeat(self) -> bool:
        """Whether all of the body that was sent is still here."""
        return self._body.can_repeat

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own."""
        self._drop_upstream()
        closes = answer.close or not self._body.is_complete or not self._keep
        self._keep = not (closes or self._context.draining)
        self.deliver(answer_bytes(answer, self.method, close=not self._keep))
        if self._flow.stage is self:
            self._after_response()

    def _malformed(self, status: int, why: str) -> None:
        """Refuse what is no valid request: nobody knows where the next one begins."""
        plan = self._current_plan()
        if plan is not None:
            self._context.metrics.refusals.count(plan.port, Refusal.MALFORMED)
        self.answer(malformed(status, why))

    # As the endpoint's side has it.

    def request_bytes(self) -> bytes:
        """The request from its start, as far as it has come."""
        data = request_head(self.exchange, self._head)
        kept = self._body.kept
        return data + kept if kept else data

    def upstream_is_ready(self) -> None:
        """The endpoint takes more of the request."""
        if not self._body.is_complete:
            self._watch()

    @property
    def request_is_complete(self) -> bool:
        """Whether all of the request was read."""
        return self._body.is_complete

    def deliver_interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx; a client of HTTP/1.0 would not know it (RFC 9110 section 15.2)."""
        if self._head.minor:
            self.deliver(head.forwarded)

    def begin_response(self, head: ResponseHead, *, ends_with_connection: bool) -> bytes:
        """The head of the final response as it is passed on."""
        self._body.forget()
        keep = self._keep and head.keep_alive and not ends_with_connection
        close = keep and self._context.draining
        self._keep = keep and not close
        return response_head(self.exchange, head, close=close)

    def deliver(self, data: bytes) -> None:
        """Give the client what it can take; the rest waits, and reading stops."""
        self._active = self._context.reactor.now
        self.out.send(data)
        if self.out.unsent:
            self._watch()

    def response_is_over(self) -> None:
        """All of the response was passed on."""
        self._upstream = None
        self._keep = self._keep and self._body.is_complete
        self.exchange.finish()
        if self._flow.stage is self:
            self._after_response()

    def response_is_broken(self, outcome: Outcome, why: str) -> None:
        """The rest of the response will not come: the client is told by a reset."""
        self._upstream = None
        self._busy = False
        self.exchange.broken(outcome, why)
        self._flow.finish(Ending.ENDPOINT_RESET, why)

    def exchange_failed(
        self, reason: RetryOn, why: str, *, untouched: bool = False, stale: bool = False
    ) -> None:
        """There is no response on this connection: perhaps on another one."""
        self._upstream = None
        self.exchange.failed(reason, why, untouched=untouched, stale=stale)

    def tunnel(self, upstream: UpstreamConnection, head: ResponseHead, data: bytes) -> None:
        """From here on the two sides speak another protocol."""
        out = self.begin_response(head, ends_with_connection=True) + data[head.size :]
        self._flow.application_protocol = head.upgrade or "tunnel"
        self._upstream = None
        self._busy = False
        self.stop()
        for_client = bytes(self.out.unsent) + out
        tunnel(self._flow, self.exchange, upstream, for_client, self._buffer)

    # After the response.

    def _after_response(self) -> None:
        self._busy = False
        if not self._keep:
            self._closing = True
        if self.out.unsent:
            return
        if self._closing:
            self._close()
        elif self._buffer or self._ended:
            self._next_requests()
        if self._flow.stage is self and not self._watched & IN:
            self._watch()

    def _send_unsent(self) -> None:
        if not self.out.send_unsent():
            return
        self._active = self._context.reactor.now
        if self._upstream is not None:
            self._upstream.resume()
        elif not self._busy:
            self._after_response()
        if self._flow.stage is self:
            self._watch()

    def _close(self) -> None:
        """End the connection so that the client gets to read the answer.

        A socket that is closed with unread bytes resets the connection, and takes back what was
        sent before (RFC 9112 section 9.6): so what still comes is read for a while.
        """
        if self._ended or (self._body.is_complete and not self._buffer):
            self._flow.finish(Ending.CLOSED, reset=False)
            return
        self._sock.shutdown(socket.SHUT_WR)
        self._buffer = b""
        self._active = self._context.reactor.now
        self._deadlines.by(self.due())

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.client = None
            upstream.close()

    def stop(self) -> None:
        """Let go of everything: as the flow's stage."""
        self._deadlines.stop()
        if self._busy:
            self._busy = False
            self._context.http.pool.leave(self, self.exchange.target.upstream)
            self.exchange.cancelled()
        self._drop_upstream()

    # Deadlines.

    def due(self) -> float:
        """When something has taken too long."""
        settings = self._context.http.settings
        if self._closing:
            return self._active + settings.linger_seconds
        if not self._busy:
            if self._buffer or self._newcomer:
                return self._head_began + settings.head_timeout_seconds
            return self._active + settings.keepalive_timeout_seconds
        exchange = self.exchange
        idle = exchange.target.idle_seconds
        dues = [self._active + idle] if idle else []
        dues += [at for at in (exchange.deadline, exchange.try_deadline) if at]
        return min(dues, default=NEVER)

    def expire(self) -> None:
        """End what has taken too long."""
        if self._closing or not self._busy:
            if self._buffer and not self._closing:
                self._malformed(408, "the request's head took too long")
            else:
                self._flow.finish(Ending.IDLE_TIMEOUT, reset=False)
            return
        if self.exchange.status:
            self.exchange.broken(Outcome.TIMEOUT, "timeout")
            self._busy = False
            self._flow.finish(Ending.IDLE_TIMEOUT, "the response took too long")
        else:
            self._drop_upstream()
            self.exchange.expired()
            self._deadlines.by(self.due())

    def _watch(self) -> None:
        """Register for what this side can act on now."""
        wanted = IN | HANGUP_IN if self._may_read() else 0
        if self.out.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            reactor = self._context.reactor
            register = reactor.watch_newcomer if self._newcomer else reactor.watch
            register(self._fd, self, wanted)

    def _may_read(self) -> bool:
        if self._ended:
            return False
        if not self._busy:
            return not self.out.unsent or self._closing
        if self._body.is_complete:
            return len(self._buffer) < self._context.http.settings.pipeline_bytes
        return self._upstream is not None and self._upstream.is_ready
