"""Header blocks with what the route of an exchange changes in them."""

from __future__ import annotations

from edgemesh.policy.routing.headers import change_headers
from edgemesh.policy.routing.rewrite import rewritten
from edgemesh.proxy.http.changes import request_changes, response_changes
from edgemesh.proxy.http.exchange import Exchange
from edgemesh.wire.http2.block import Block
from edgemesh.wire.http2.heads import (
    RequestHead,
    ResponseHead,
    is_authority,
    request_block,
    response_block,
)


def changed_request(exchange: Exchange, head: RequestHead) -> Block:
    """The head as the endpoint gets it."""
    route = exchange.route
    if route is None:
        return head.block
    changes = request_changes(exchange)
    if not changes and route.rewrite is None:
        return head.block
    target, authority = head.target, head.authority
    headers = head.headers
    if route.rewrite is not None:
        target, host = rewritten(route, head)
        if host is not None and is_authority(host):
            authority = host
            headers = tuple(item for item in headers if item[0] != "host")
    for change in changes:
        headers = change_headers(headers, change)
    return request_block(head, authority, target, headers)


def changed_response(exchange: Exchange, head: ResponseHead) -> Block:
    """The head as the client gets it."""
    changes = response_changes(exchange)
    if not changes and not exchange.response_headers:
        return head.block
    headers = head.headers
    for change in changes:
        headers = change_headers(headers, change)
    return response_block(head.status, headers + exchange.response_headers, head)
