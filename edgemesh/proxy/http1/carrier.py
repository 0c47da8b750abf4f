"""One request after the other between a client's connection and those to endpoints.

A request's head is forwarded as it came unless something in it has to change; its body goes on as
it comes, and is kept for another try as long as it is short and no response has begun.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import RetryOn
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.connecting import pool_key
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import Answer, refuse
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http1.answering import answer_bytes
from edgemesh.proxy.http1.body import RequestBody
from edgemesh.proxy.http1.heads import request_head, response_head
from edgemesh.proxy.http1.outgoing import Outgoing
from edgemesh.proxy.http1.tunnel import tunnel
from edgemesh.proxy.http1.upstream import UpstreamConnection
from edgemesh.wire.http1.heads import Framing, MalformedBody, RequestHead, ResponseHead

if TYPE_CHECKING:
    from edgemesh.proxy.http1.client import ClientConnection

_NO_BODY = Framing.NONE
_PROTOCOLS = ("http/1.0", "http/1.1")


class RequestCarrier:
    """The carrier of a client connection's exchanges, one at a time.

    Attributes:
        active: when the client was last given something.
        busy: a request is served now.
        exchange: of that request, or of the last one.
        method: of that request.
        body: of that request.
        keep: the client's connection goes on after it.
        out: what goes to the client.
        upstream: the connection that the request is on, None when it is on none.
    """

    __slots__ = (
        "_call",
        "_client",
        "_context",
        "_flow",
        "_head",
        "active",
        "body",
        "busy",
        "exchange",
        "keep",
        "method",
        "out",
        "upstream",
    )

    exchange: Exchange
    _head: RequestHead

    def __init__(self, flow: Flow, client: ClientConnection) -> None:
        """Carry the requests of ``client``, one side of the flow."""
        self._client = client
        self._context = flow.context
        self._flow = flow
        self._call = Call(flow.client_address[0], ":" in flow.destination[0], None)
        self.body = RequestBody(flow.context.http.settings)
        self.active = flow.started
        self.busy = False
        self.keep = False
        self.method = ""
        self.out = Outgoing(flow)
        self.upstream: UpstreamConnection | None = None

    # As the client's side has it.

    def begin(self, head: RequestHead, plan: PortPlan | None) -> None:
        """Take a request; what is there of its body is to be given to `take_body`.

        Args:
            head: of the request.
            plan: of the Service port that was called, None when it is gone.
        """
        self._head = head
        self.method = head.method
        self.keep = head.keep_alive
        self.busy = True
        body = self.body
        if head.framing is not _NO_BODY or not body.is_unused:
            body.begin(head)
        if plan is None:
            self._context.reports.refused_request(None, Refusal.NO_SERVICE)
            self.answer(refuse(Refusal.NO_SERVICE))
            return
        self.exchange = Exchange(
            self._context,
            self._flow,
            self,
            plan,
            self._call,
            head,
            _PROTOCOLS[head.minor],
        )

    def take_body(self, data: bytes) -> int:
        """Take what has come of the body, and pass it on if the endpoint is there already.

        Returns:
            How many bytes of it are the body's.

        Raises:
            MalformedBody: the request cannot be served any further.
        """
        try:
            count = self.body.take(data)
        except MalformedBody:
            self.busy = False
            self.exchange.cancelled()
            raise
        self.exchange.bytes_sent += count
        upstream = self.upstream
        if upstream is not None and upstream.is_ready:
            upstream.send(data[:count] if count < len(data) else data)
            if upstream.unsent:
                self._client.watch()
        return count

    def give_up(self) -> None:
        """The client's connection is over."""
        if self.busy:
            self.busy = False
            self._context.http.pool.leave(self, self.exchange.target.upstream)
            self.exchange.cancelled()
        self.drop_upstream()

    def let_go(self, upstream: UpstreamConnection) -> None:
        """The response on this connection is not wanted: another try is made, now or soon."""
        if self.upstream is upstream:
            self.upstream = None
            self.pause()
        upstream.abandon()

    def pause(self) -> None:
        """Read more of the request only if there is a connection that takes it."""
        if self.busy and not self.body.is_complete:
            self._client.watch()

    def drop_upstream(self) -> None:
        """Close the connection that the request is on: its response is not wanted."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abandon()

    # As the exchange has it.

    def on_events(self, events: int) -> None:
        """Nothing is watched: the connections on either side are."""

    def on_bug(self, error: Exception) -> None:
        """End the client's connection."""
        self._client.on_bug(error)

    def forward(self, state: EndpointState) -> None:
        """Send the request to this endpoint, on a connection that waits or a new one."""
        if self.upstream is not None:
            self.drop_upstream()
        http = self._context.http
        target = self.exchange.target
        self._flow.endpoint = state.endpoint
        key = pool_key(self._flow, state, target.port.source)
        self._flow.way = key[2]
        upstream = http.pool.take(key)
        while upstream is not None and not self._head.idempotent and upstream.has_ended():
            upstream.close()
            upstream = http.pool.take(key)
        if upstream is None:
            calls = target.upstream
            if not http.pool.make_room(calls, target.policy.limits.max_connections):
                if not http.pool.wait(self, calls):
                    self.exchange.overflowed()
                return
            upstream = UpstreamConnection(self._context, key, calls)
            problem = upstream.dial(target.connect_seconds, self._flow.client_address)
            if problem:
                self.failed(RetryOn.CONNECT_FAILURE, os.strerror(problem), untouched=True)
                return
        self.upstream = upstream
        upstream.start(self)

    def connection_is_free(self) -> None:
        """Take or open the connection that was waited for."""
        if self.busy and self.upstream is None and self.exchange.state is not None:
            self.forward(self.exchange.state)

    def can_repeat(self) -> bool:
        """Whether all of the body that was sent is still here."""
        return self.body.can_repeat

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own."""
        self.drop_upstream()
        keep = self.keep and self.body.is_complete and not answer.close
        self.keep = keep and not self._context.draining
        self.out.send(answer_bytes(answer, self.method, close=not self.keep))
        self._client.response_is_over()

    # As the endpoint's side has it.

    @property
    def may_switch(self) -> bool:
        """Whether the client has asked for another protocol, and said all that it had to."""
        return bool(self._head.upgrade) and self.body.is_complete

    def request_bytes(self) -> bytes:
        """The request from its start, as far as it has come."""
        exchange, head = self.exchange, self._head
        data = head.forwarded if exchange.route is None else request_head(exchange, head)
        kept = self.body.kept
        return data + kept if kept else data

    def upstream_is_ready(self) -> None:
        """The endpoint takes more of the request."""
        if not self.body.is_complete:
            self._client.watch()

    def deliver_interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx; a client of HTTP/1.0 would not know it (RFC 9110 section 15.2)."""
        if self._head.minor:
            self.deliver(head.forwarded)

    def begin_response(self, head: ResponseHead, *, ends_with_connection: bool) -> bytes:
        """The head of the final response as it is passed on."""
        if self._flow.way and self.upstream is not None:
            self._flow.way = self.upstream.way
        if not self.body.is_unused:
            self.body.forget()
        keep = self.keep and head.keep_alive and not ends_with_connection
        close = keep and self._context.draining
        self.keep = keep and not close
        exchange = self.exchange
        if exchange.route is None and not close and not exchange.response_headers:
            return head.forwarded
        return response_head(exchange, head, close=close)

    def deliver(self, data: bytes) -> None:
        """Give the client what it can take; the rest waits, and reading stops."""
        self.active = self._context.reactor.now
        self.out.send(data)
        if self.out.unsent:
            self._client.watch()

    def response_is_over(self) -> None:
        """All of the response was passed on."""
        self.upstream = None
        self.keep = self.keep and self.body.is_complete
        self.exchange.finish()
        self._client.response_is_over()

    def response_is_broken(self, outcome: Outcome, why: str) -> None:
        """The rest of the response will not come: the client is told by a reset."""
        self.upstream = None
        self.busy = False
        self.exchange.broken(outcome, why)
        self._client.broken(why)

    def failed(
        self, reason: RetryOn, why: str, *, untouched: bool = False, stale: bool = False
    ) -> None:
        """There is no response on this connection: perhaps on another one."""
        self.upstream = None
        self.exchange.failed(reason, why, untouched=untouched, stale=stale)
        self.pause()

    def tunnel(self, upstream: UpstreamConnection, head: ResponseHead, data: bytes) -> None:
        """From here on the two sides speak another protocol."""
        out = self.begin_response(head, ends_with_connection=True) + data[head.size :]
        self._flow.application_protocol = head.upgrade or "tunnel"
        self.upstream = None
        self.busy = False
        for_endpoint = self._client.leave()
        for_client = bytes(self.out.unsent) + out
        tunnel(self._flow, self.exchange, upstream, for_client, for_endpoint)
