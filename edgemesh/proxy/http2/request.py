"""One request: its two streams, and the exchange that says where it goes.

Until a response begins, the request's body passes through here, so that it can be kept for
another try; from then on the streams are each other's partners and this class hears only of
heads, trailers and ends.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemesh.model.flows import AT_ITS_LIMIT, REASON_HEADER
from edgemesh.model.policies import RetryOn
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.connecting import pool_key
from edgemesh.proxy.context import Context
from edgemesh.proxy.http.answers import Answer
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.proxy.http1.deadlines import NEVER
from edgemesh.proxy.http2.answering import grpc_answer, http_answer
from edgemesh.proxy.http2.body import RequestBody
from edgemesh.proxy.http2.changing import changed_request, changed_response
from edgemesh.proxy.http2.queue import PoolKey
from edgemesh.proxy.http2.upstream import UpstreamLink
from edgemesh.wire.http2.codes import ErrorCode, error_name
from edgemesh.wire.http2.heads import RequestHead, ResponseHead, Trailers
from edgemesh.wire.http2.stream import Stream

if TYPE_CHECKING:
    from edgemesh.proxy.http2.client import ClientLink

_UNAVAILABLE = 503


class Http2Request:
    """The carrier of an exchange, and the user of the streams of a request.

    Attributes:
        exchange: unset while there is none, and once it is over.
    """

    __slots__ = (
        "_active",
        "_body",
        "_client",
        "_context",
        "_head",
        "_link",
        "_moved",
        "_open",
        "_responding",
        "_side",
        "_upstream",
        "_waits_for",
        "exchange",
    )

    __deletable__ = ("exchange",)

    exchange: Exchange

    def __init__(
        self,
        context: Context,
        side: ClientLink,
        client: Stream,
        head: RequestHead | None,
        ended: bool,
    ) -> None:
        """Take a request whose head has come.

        Args:
            context: of the data plane.
            side: the client's connection.
            client: the client's stream.
            head: None when it was not acceptable.
            ended: whether it is all of the request.
        """
        self._context = context
        self._side = side
        self._client = client
        self._head = head
        # None where no body comes.
        self._body: RequestBody | None = None
        if not ended:
            self._body = RequestBody(client, context.http.settings.retry_buffer_bytes)
        self._upstream: Stream | None = None
        self._link: UpstreamLink | None = None
        self._waits_for: PoolKey | None = None
        self._responding = False
        self._open = head is not None
        self._active = context.reactor.now
        self._moved = 0

    # As the carrier of the exchange.

    def forward(self, state: EndpointState) -> None:
        """Send the request to this endpoint, on a connection that stands or a new one."""
        if self._upstream is not None or self._link is not None:
            self._drop_upstream()
        exchange = self.exchange
        flow = exchange.flow
        flow.endpoint = state.endpoint
        flow.attempts += 1
        if exchange.try_deadline:
            self._side.set_deadline(exchange.try_deadline)
        target = exchange.target
        key = pool_key(flow, state, target.port.source)
        flow.way = key[2]
        pool = self._context.http2.pool
        if not pool.queue.is_empty and pool.queue.is_ahead(key):
            self._wait_for(key)
            return
        link = pool.find(key)
        if link is not None and link.stands:
            self.start_on(link)
        else:
            self._seek(key)

    def _seek(self, key: PoolKey) -> None:
        """Take a stream on a connection that stands, or a new one, or wait for one."""
        pool = self._context.http2.pool
        link = pool.find(key)
        if link is None:
            target = self.exchange.target
            if not pool.may_open(key, target.upstream):
                self._wait_for(key)
                return
            link = UpstreamLink(self._context, key, target.upstream)
            problem = link.dial(target.connect_seconds, self.exchange.flow.client_address)
            if problem:
                self.connect_failed(os.strerror(problem))
                return
        if link.stands:
            self.start_on(link)
        else:
            self._link = link
            link.expect(self)

    def can_repeat(self) -> bool:
        """Whether all of the body that was sent is still here."""
        return not self._responding and (self._body is None or self._body.is_whole)

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own."""
        self._open = False
        self._leave_upstream()
        client = self._client
        if not client.is_open:
            return
        head = self._head
        if head is not None and head.is_grpc and answer.refusal is not None:
            client.send_head(grpc_answer(answer, answer.refusal), True)
        else:
            block, body = http_answer(answer, head.method if head is not None else "")
            client.send_head(block, not body)
            if body:
                client.send_data(body, True)
        self._stop_client()

    def on_events(self, events: int) -> None:
        """Nothing is watched."""

    def on_bug(self, error: Exception) -> None:
        """End the client's connection, as for a bug in one of its events."""
        self._side.on_bug(error)

    # On the way to an endpoint.

    def _wait_for(self, key: PoolKey) -> None:
        upstream = self.exchange.target.upstream
        most = upstream.policy.limits.max_pending or self._context.http.settings.max_pending
        if self._context.http2.pool.queue.enter(self, key, upstream, most):
            self._waits_for = key
        else:
            self.exchange.overflowed()

    def stream_is_free(self) -> None:
        """Take the stream that was waited for; it may be gone again."""
        key, self._waits_for = self._waits_for, None
        if key is None:
            # The pool has promised it, and the client has left meanwhile.
            return
        self._context.http2.pool.queue.redeem(key)
        self._seek(key)

    def start_on(self, link: UpstreamLink) -> None:
        """Send the request from its start, as far as it has come."""
        head = self._head
        assert head is not None
        client = self._client
        self._link = link
        stream = self._upstream = link.connection.open(self, client, head.method == "HEAD")
        if link.most_requests:
            link.count_request()
        exchange = self.exchange
        exchange.flow.way = link.way
        block = head.block if exchange.route is None else changed_request(exchange, head)
        body = self._body
        stream.send_head(block, body is None)
        if body is not None:
            body.send_all(stream)

    def connect_failed(self, why: str) -> None:
        """The connection that was waited for does not stand."""
        self._link = None
        if self._open:
            self.exchange.failed(RetryOn.CONNECT_FAILURE, why, untouched=True)

    # From the client.

    def request_data(self, payload: bytes, ended: bool) -> None:
        """Send a part of the body on, and keep it while it may be wanted again."""
        if not self._open:
            # Nobody wants it; the client may go on until it has noticed.
            self._client.lose(len(payload))
            return
        body = self._body
        assert body is not None
        body.take(payload)
        upstream = self._upstream
        if upstream is not None:
            body.send_part(upstream, payload, ended)
            if not body.is_whole:
                self._client.partner = upstream

    def request_trailers(self, trailers: Trailers) -> None:
        """The request is complete."""
        if self._body is not None:
            self._body.trailers = trailers
        if self._upstream is not None and self._open:
            self._upstream.send_trailers(trailers.block)

    def request_reset(self, code: int) -> bool:  # noqa: ARG002 - the endpoint need not know why
        """The client is gone; whether a response had begun."""
        if self._open:
            self._open = False
            self._count_bytes()
            self.exchange.cancelled()
        self._leave_upstream()
        return self._responding

    # From the endpoint.

    def responded(self, head: ResponseHead, ended: bool) -> None:
        """Pass a head on, unless it is a reason to try again."""
        client = self._client
        if head.is_interim:
            client.send_head(head.block, False)
            return
        exchange = self.exchange
        upstream = self._upstream
        if (ended or head.status == _UNAVAILABLE) and head.value(REASON_HEADER) in AT_ITS_LIMIT:
            exchange.turned_away = True
        if not exchange.responded(head.status, head.grpc_status if ended else None):
            if self._upstream is upstream:
                self._drop_upstream()
            return
        self._responding = True
        assert upstream is not None
        client.partner = upstream
        if self._body is not None:
            self._body.forget()
        as_it_is = exchange.route is None and not exchange.response_headers
        client.send_head(head.block if as_it_is else changed_response(exchange, head), ended)
        if ended:
            self.response_ended()

    def response_trailers(self, trailers: Trailers) -> None:
        """The response is complete."""
        if self._head is not None and self._head.is_grpc:
            self.exchange.grpc_status = trailers.grpc_status
        self._client.send_trailers(trailers.block)
        self.response_ended()

    def response_reset(self, code: int, *, refused: bool) -> None:
        """The endpoint has given up the request, or never begun with it."""
        if refused:
            self._lose(code, "stream refused", RetryOn.REFUSED_STREAM, untouched=True)
        else:
            self._lose(code, f"stream reset: {error_name(code)}", RetryOn.RESET)

    def connection_lost(self, why: str, *, stale: bool) -> None:
        """The endpoint's connection is gone."""
        self._lose(ErrorCode.INTERNAL_ERROR, why, RetryOn.RESET, stale=stale)

    def _lose(
        self, code: int, why: str, reason: RetryOn, *, untouched: bool = False, stale: bool = False
    ) -> None:
        self._upstream = None
        if not self._open:
            self._stop_client()
        elif self._responding:
            self._break(Outcome.RESET, code, why)
        else:
            self.exchange.failed(reason, why, untouched=untouched, stale=stale)

    # Ends.

    def response_ended(self) -> None:
        """All of the response has been passed on; the request may still be under way."""
        client = self._client
        upstream = self._upstream
        assert upstream is not None
        exchange = self.exchange
        exchange.bytes_sent = client.received
        exchange.bytes_received = upstream.received
        self._open = False
        exchange.finish()
        if client.remote_ended:
            # Nothing refers to the streams from here on, so that they are freed at once.
            upstream.partner = None
            self._upstream = None
            client.partner = None
            del self.exchange
            if client.local_ended:
                del client.user
        self._active = self._context.reactor.now

    def _break(self, outcome: Outcome, code: int, why: str) -> None:
        """The rest of the response will not come: the client has to notice."""
        self._open = False
        self._count_bytes()
        self.exchange.broken(outcome, why)
        self._drop_upstream()
        if self._client.is_open:
            self._client.reset(code or ErrorCode.INTERNAL_ERROR)

    def _stop_client(self) -> None:
        """Ask a client that was answered to stop sending (RFC 9113 section 8.1)."""
        client = self._client
        client.partner = None
        if not client.remote_ended and client.waiting is None and client.is_open:
            client.reset(ErrorCode.NO_ERROR)

    def _count_bytes(self) -> None:
        exchange = self.exchange
        exchange.bytes_sent = self._client.received
        if self._upstream is not None:
            exchange.bytes_received = self._upstream.received

    def _leave_upstream(self) -> None:
        if self._waits_for is not None:
            key, self._waits_for = self._waits_for, None
            self._context.http2.pool.queue.leave(self, key)
        self._drop_upstream()

    def _drop_upstream(self) -> None:
        """Take the request away from the endpoint."""
        link, self._link = self._link, None
        if link is not None and not link.stands:
            link.expect_no_more(self)
        upstream, self._upstream = self._upstream, None
        if upstream is not None and upstream.is_open:
            upstream.reset(ErrorCode.CANCEL)

    # Deadlines.

    def due(self) -> float:
        """When this request has taken too long."""
        if not self._open:
            return self._active + self._context.http.settings.idle_timeout_seconds
        exchange = self.exchange
        idle = exchange.target.idle_seconds
        due = self._last_active() + idle if idle else NEVER
        for at in (exchange.deadline, exchange.try_deadline):
            if at and at < due and not (at == exchange.try_deadline and self._responding):
                due = at
        return due

    def expire(self) -> None:
        """End what has taken too long."""
        if not self._open:
            self._drop_upstream()
            if self._client.is_open:
                self._client.reset(ErrorCode.NO_ERROR)
        elif self._responding:
            self._break(Outcome.TIMEOUT, ErrorCode.CANCEL, "timeout")
        else:
            link = self._link
            if link is not None and link.stands and link.heard_at < self.exchange.try_began:
                # Nothing at all has come since: others should not wait for it, too.
                link.retire()
            self._leave_upstream()
            self.exchange.expired()

    def _last_active(self) -> float:
        """When bytes last moved, as far as was looked."""
        moved = self._client.received
        if self._upstream is not None:
            moved += self._upstream.received
        if moved != self._moved:
            self._moved = moved
            self._active = self._context.reactor.now
        return self._active
