"""Which route a connection takes that is passed on as it is.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#TLSRoute and
https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from edgemesh.model.routes import ConnectionRoute
from edgemesh.policy.routing.precedence import HostRank, by_host_rank
from edgemesh.policy.routing.request import Caller, comes_from


class ConnectionRouteObject(NamedTuple):
    """The connection routes of one object.

    Args:
        routes: as the object lists them.
        created: its ``creationTimestamp``; "" counts as the oldest.
        name: ``namespace/name``.
    """

    routes: tuple[ConnectionRoute, ...]
    created: str
    name: str


class _Place(NamedTuple):
    host: HostRank
    any_alpn: bool
    created: str
    name: str
    position: int


def order_connection_routes(
    objects: Iterable[ConnectionRouteObject],
) -> tuple[ConnectionRoute, ...]:
    """Put the routes of all objects that concern a Service port into the order of their trial.

    The more of a name a route says, the sooner it is tried: exact names, then wildcards from the
    longest to ``*``, then routes for any connection. So the Gateway API has it, and so does
    Istio by Envoy's filter chains, though its reference speaks of the first rule that matches.
    Of routes for the same name those that ask for a protocol come first, as in Envoy, too. Among
    equals the older object comes first, and in an object the order as written.
    """
    placed = [
        (
            _Place(rank, not route.alpn, each.created, each.name, position),
            replace(route, server_names=names),
        )
        for each in objects
        for position, route in enumerate(each.routes)
        for rank, names in by_host_rank(route.server_names)
    ]
    placed.sort(key=lambda entry: entry[0])
    return tuple(route for _, route in placed)


def connection_route(
    routes: Iterable[ConnectionRoute],
    server_name: str,
    alpn: Collection[str],
    caller: Caller | None,
) -> ConnectionRoute | None:
    """The first route whose conditions all hold; None when the connection goes where it was going.

    Args:
        routes: of the Service port that was called.
        server_name: that a ClientHello named, in lower case; "" when there was none.
        alpn: that it offered.
        caller: who connects; None when it is not known.
    """
    for route in routes:
        if (
            _is_named(route.server_names, server_name)
            and _is_offered(route.alpn, alpn)
            and comes_from(caller, route.source_namespace, route.source_labels)
        ):
            return route
    return None


def _is_named(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(_covers(pattern, name) for pattern in patterns)


def _covers(pattern: str, name: str) -> bool:
    if not pattern.startswith("*"):
        return name == pattern
    # "*.example.org" is "a.b.example.org", too, but never "example.org"; "*" is every name.
    return name[:1] not in ("", ".") and name.endswith(pattern[1:])


def _is_offered(wanted: tuple[str, ...], offered: Collection[str]) -> bool:
    return not wanted or any(protocol in offered for protocol in wanted)
