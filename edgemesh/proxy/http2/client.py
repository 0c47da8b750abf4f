"""One client's connection, and the requests that come on it."""

from __future__ import annotations

import socket
from typing import cast

from edgemesh.model.flows import Ending, Refusal
from edgemesh.policy.traffic.calls import Call
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import malformed, refuse
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http1.deadlines import NEVER, Deadlines
from edgemesh.proxy.http2.link import CLOSED, Link
from edgemesh.proxy.http2.request import Http2Request
from edgemesh.wire.http2.codes import ErrorCode
from edgemesh.wire.http2.heads import RequestHead
from edgemesh.wire.http2.server_connection import ServerConnection
from edgemesh.wire.http2.stream import Stream


def serve(flow: Flow, heard: bytes = b"") -> None:
    """Serve a client that speaks HTTP/2 from now on; ``heard`` is what was read of it already."""
    link = ClientLink(flow)
    link.start()
    if heard:
        link.take(heard)


class ClientLink(Link[ServerConnection]):
    """The stage of a flow, the handler of its socket, and who takes its requests."""

    __slots__ = (
        "_call",
        "_closing_since",
        "_deadlines",
        "_flow",
        "_newcomer",
        "_plan",
        "_swaps",
    )

    def __init__(self, flow: Flow) -> None:
        """Greet the client."""
        context = flow.context
        super().__init__(context)
        self._flow = flow
        self._sock = flow.client
        self._fd = flow.client.fileno()
        self._call = Call(flow.client_address[0], ":" in flow.destination[0], None)
        self._deadlines = Deadlines(context.reactor, self)
        self._newcomer = True
        self._closing_since = NEVER
        self._plan: PortPlan | None = None
        self._swaps = -1
        self.connection = ServerConnection(
            self, self.wake, context.http2.budget, context.http.settings, context.http2.settings
        )

    def start(self) -> None:
        """Wait for the first request."""
        self._flow.stage = self
        self._context.http.connections.add(self)
        self._deadlines.by(self.due())
        self.watch()
        if self._context.draining:
            self.drain()

    def stop(self) -> None:
        """The flow is over: so are its requests."""
        self._deadlines.stop()
        self._context.http.connections.discard(self)
        self._cancel_all()
        self._flow.bytes_sent = self.bytes_in
        self._flow.bytes_received = self.bytes_out
        self.detach()

    def _cancel_all(self) -> None:
        for stream in list(self.connection.streams.values()):
            stream.forget()
            stream.user.request_reset(ErrorCode.CANCEL)

    def drain(self) -> None:
        """Let the client open no more streams; close when its last one is over."""
        self.connection.leave()
        self.heard_at = self._reactor.now
        self._deadlines.by(self.due())

    def set_deadline(self, due: float) -> None:
        """Make sure that `due` is looked at by then."""
        self._deadlines.by(due)

    # As the taker of requests.

    def take_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """Begin an exchange."""
        request = Http2Request(self._context, self, stream, head, ended)
        stream.user = request
        flow = self._flow
        flow.requests += 1
        plan = self._plan
        if self._swaps != self._context.decider.swaps:
            plan = self._current_plan()
        if plan is None:
            request.answer(refuse(Refusal.NO_SERVICE))
            return
        exchange = request.exchange = Exchange(
            self._context,
            flow,
            request,
            plan,
            self._call,
            head,
            "grpc" if head.is_grpc else "http/2",
        )
        exchange.begin()
        if head.grpc_timeout is not None:
            deadline = exchange.begun + head.grpc_timeout
            exchange.deadline = min(exchange.deadline or deadline, deadline)
        due = exchange.begun + (exchange.target.idle_seconds or NEVER)
        if 0 < exchange.deadline < due:
            due = exchange.deadline
        if 0 < exchange.try_deadline < due:
            due = exchange.try_deadline
        if due < self._deadlines.at:
            self._deadlines.by(due)
        if self._newcomer:
            self._newcomer = False
            if self._fd != CLOSED:
                self._watched = -1
                self.watch()

    def refuse_request(self, stream: Stream, status: int, reason: str) -> None:
        """Answer a request whose head is not acceptable."""
        request = Http2Request(self._context, self, stream, None, stream.remote_ended)
        stream.user = request
        plan = self._current_plan()
        port = plan.port if plan is not None else None
        self._context.reports.refused_request(port, Refusal.MALFORMED)
        request.answer(malformed(status, reason))

    def _current_plan(self) -> PortPlan | None:
        context = self._context
        decider = context.decider
        if self._swaps != decider.swaps:
            self._swaps = decider.swaps
            port = self._flow.called_port()
            self._plan = context.http.plans.renewed(port, self._plan)
        return self._plan

    # As a Link.

    def heard(self) -> None:
        """Look whether the connection goes on."""
        connection = self.connection
        if not connection.is_over:
            return
        self.flush()
        fault = connection.fault
        if fault is not None and self._unsent:
            # It does not even read what it did wrong.
            self._flow.finish(Ending.ERROR, fault.reason)

    def lost(self, why: str) -> None:
        """End the flow."""
        fault = self.connection.fault
        if fault is not None:
            self._flow.finish(Ending.ERROR, fault.reason)
        else:
            self._flow.finish(Ending.CLIENT_RESET, why)

    def ended(self) -> None:
        """A client that closes its direction gives up what it has asked for."""
        fault = self.connection.fault
        if fault is not None:
            self._flow.finish(Ending.ERROR, fault.reason, reset=False)
        elif self.connection.streams:
            self._flow.finish(Ending.CLIENT_RESET, "closed with requests open")
        else:
            self._flow.finish(Ending.CLOSED, reset=False)

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def register(self, wanted: int) -> None:
        """Before its first request a connection is a newcomer."""
        register = self._reactor.watch_newcomer if self._newcomer else self._reactor.watch
        register(self._fd, self, wanted)

    def flush(self) -> None:
        """Write what there is; with the last of it the connection may be over."""
        super().flush()
        if self._fd == CLOSED or self._unsent or not self.connection.is_over:
            return
        if self.connection.fault is None:
            self._flow.finish(Ending.CLOSED, reset=False)
        elif self._closing_since == NEVER:
            self._linger()

    def _linger(self) -> None:
        """Let a client that broke a rule read what it was told.

        A socket that is closed with unread bytes resets the connection, and takes back what was
        sent before (RFC 9112 section 9.6): so what still comes is read for a while.
        """
        self._closing_since = self._reactor.now
        self._cancel_all()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.lost(error.strerror or "")
            return
        self._deadlines.by(self.due())

    # Deadlines.

    def due(self) -> float:
        """When something has taken too long."""
        settings = self._context.http.settings
        connection = self.connection
        if self._closing_since != NEVER:
            return self._closing_since + settings.linger_seconds
        if connection.leaving and not connection.streams:
            return self.heard_at + settings.drain_idle_seconds
        head_since = connection.in_head_since
        if head_since is not None:
            return max(head_since, self._flow.started) + settings.head_timeout_seconds
        if not connection.streams:
            return self.heard_at + settings.keepalive_timeout_seconds
        return min(
            (cast("Http2Request", stream.user).due() for stream in connection.streams.values()),
            default=NEVER,
        )

    def expire(self) -> None:
        """End what has taken too long."""
        now = self._reactor.now
        connection = self.connection
        streams = list(connection.streams.values())
        if connection.fault is not None:
            self._flow.finish(Ending.ERROR, connection.fault.reason)
            return
        if not streams or connection.in_head_since is not None:
            self._flow.finish(Ending.IDLE_TIMEOUT, reset=False)
            return
        for stream in streams:
            request = cast("Http2Request", stream.user)
            if request.due() <= now:
                request.expire()
        if self._fd != CLOSED:
            self._deadlines.by(self.due())
