"""What the route of an exchange changes in its messages."""

from __future__ import annotations

from edgemesh.model.routes import NO_CHANGES, HeaderChanges
from edgemesh.proxy.http.exchange import Exchange


def request_changes(exchange: Exchange) -> tuple[HeaderChanges, ...]:
    """Changes to the headers of the request, in order; empty for none."""
    route, backend = exchange.route, exchange.backend
    if route is None:
        return ()
    both = (route.request, backend.request if backend else NO_CHANGES)
    return tuple(changes for changes in both if changes != NO_CHANGES)


def response_changes(exchange: Exchange) -> tuple[HeaderChanges, ...]:
    """Changes to the headers of the response, in order; empty for none."""
    route, backend = exchange.route, exchange.backend
    if route is None:
        return ()
    both = (backend.response if backend else NO_CHANGES, route.response)
    return tuple(changes for changes in both if changes != NO_CHANGES)
