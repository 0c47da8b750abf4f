"""Heads as they are passed on: as they came, unless the route has something to change."""

from __future__ import annotations

from edgemesh.policy.routing.rewrite import rewritten
from edgemesh.proxy.http.changes import request_changes, response_changes
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.wire.http1.heads import RequestHead, ResponseHead
from edgemesh.wire.http1.rebuild import rebuild_request, rebuild_response

_CLOSE = (("Connection", "close"),)


def request_head(exchange: Exchange, head: RequestHead) -> bytes:
    """The head of a request as its endpoint gets it."""
    route = exchange.route
    if route is None:
        return head.forwarded
    changes = request_changes(exchange)
    if route.rewrite is None:
        return rebuild_request(head, changes=changes) if changes else head.forwarded
    target, host = rewritten(route, head)
    return rebuild_request(head, target=target, host=host, changes=changes)


def response_head(exchange: Exchange, head: ResponseHead, *, close: bool) -> bytes:
    """The head of a response as the client gets it.

    Args:
        exchange: see there.
        head: as the endpoint sent it.
        close: whether to say that the client's connection ends with it.
    """
    changes = response_changes(exchange) if exchange.route is not None else ()
    extra = exchange.response_headers + (_CLOSE if close else ())
    if changes or extra:
        return rebuild_response(head, changes=changes, extra=extra)
    return head.forwarded
