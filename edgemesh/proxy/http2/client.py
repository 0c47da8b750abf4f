"""One client's connection, and the requests that come on it."""

from __future__ import annotations

from typing import cast

from edgemesh.model.flows import Ending, Refusal
from edgemesh.policy.traffic.calls import Call
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import malformed, refuse
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http1.deadlines import NEVER, Deadlines
from edgemesh.proxy.http2.link import Link
from edgemesh.proxy.http2.request import Http2Request
from edgemesh.wire.http2.codes import ErrorCode
from edgemesh.wire.http2.heads import RequestHead
from edgemesh.wire.http2.server_connection import ServerConnection
from edgemesh.wire.http2.stream import Stream


def serve(flow: Flow) -> None:
    """Serve a client that speaks HTTP/2 from now on; nothing of what it said has been read."""
    ClientLink(flow).start()


class ClientLink(Link):
    """The stage of a flow, the handler of its socket, and who takes its requests."""

    __slots__ = ("_call", "_deadlines", "_flow", "_newcomer", "_plan", "_swaps")

    connection: ServerConnection

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
        streams = list(self.connection.streams.values())
        for stream in streams:
            stream.forget()
            stream.user.request_reset(ErrorCode.CANCEL)
        self._flow.bytes_sent = self.bytes_in
        self._flow.bytes_received = self.bytes_out
        self.detach()

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
            request=head,
            protocol="grpc" if head.is_grpc else "http/2",
        )
        exchange.begin()
        if head.grpc_timeout is not None:
            deadline = exchange.begun + head.grpc_timeout
            exchange.deadline = min(exchange.deadline or deadline, deadline)
        due = exchange.begun + plan.idle_seconds
        if due < self._deadlines.at or exchange.deadline or exchange.try_deadline:
            self._deadlines.by(request.due())
        if self._newcomer:
            self._newcomer = False
            if self._fd >= 0:
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
            port = decider.declared_port(self._flow.destination)
            self._plan = context.http.plans.renewed(port, self._plan)
        return self._plan

    # As a Link.

    def heard(self) -> None:
        """Look whether the connection goes on."""
        if self.connection.is_over:
            self.flush()
            if self._fd >= 0 and self.connection.fault is not None:
                # It does not even read what it did wrong.
                self._end()

    def lost(self, why: str) -> None:
        """End the flow."""
        self._flow.finish(Ending.CLIENT_RESET, why)

    def ended(self) -> None:
        """A client that closes its direction gives up what it has asked for."""
        if self.connection.streams:
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
        if self._fd >= 0 and not self._unsent and self.connection.is_over:
            self._end()

    def _end(self) -> None:
        fault = self.connection.fault
        if fault is not None:
            self._flow.finish(Ending.ERROR, fault.reason, reset=False)
        else:
            self._flow.finish(Ending.CLOSED, reset=False)

    # Deadlines.

    def due(self) -> float:
        """When something has taken too long."""
        settings = self._context.http.settings
        connection = self.connection
        if connection.is_in_block:
            return self.heard_at + settings.head_timeout_seconds
        if not connection.streams:
            if connection.leaving:
                return self.heard_at + settings.drain_idle_seconds
            return self.heard_at + settings.keepalive_timeout_seconds
        return min(
            (cast("Http2Request", stream.user).due() for stream in connection.streams.values()),
            default=NEVER,
        )

    def expire(self) -> None:
        """End what has taken too long."""
        now = self._reactor.now
        streams = list(self.connection.streams.values())
        if not streams or self.connection.is_in_block:
            self._flow.finish(Ending.IDLE_TIMEOUT, reset=False)
            return
        for stream in streams:
            request = cast("Http2Request", stream.user)
            if request.due() <= now:
                request.expire()
        if self._fd >= 0:
            self._deadlines.by(self.due())
