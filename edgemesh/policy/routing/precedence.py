"""The order in which a Service port's routes are tried.

Gateway API (HTTPRouteSpec.hostnames, HTTPRouteRule.matches) ranks matches by how much they say
and ties by the age and name of their objects. Istio tries the routes of a VirtualService as they
are listed, and ranks only hosts between objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from edgemesh.model.routes import Comparison, Route, RouteMatch, TextMatch

# Smaller numbers are tried first.
HostRank = tuple[int, int]
_EXACT_HOST = (0, 0)
_ANY_HOST = (2, 0)

# Path kind, path length, method, headers, query parameters.
_Rank = tuple[int, int, int, int, int]


class RouteObject(NamedTuple):
    """The routes of one HTTPRoute or VirtualService.

    Args:
        routes: as the object lists them.
        created: its ``creationTimestamp``; "" counts as the oldest.
        name: ``namespace/name``.
        keeps_order: a VirtualService: its routes are tried in the order they have here, however
            much each of them says.
    """

    routes: tuple[Route, ...]
    created: str
    name: str
    keeps_order: bool = False


class _Placed(NamedTuple):
    host: HostRank
    rank: _Rank
    created: str
    name: str
    position: int


def order_routes(objects: Iterable[RouteObject]) -> tuple[Route, ...]:
    """Put the routes of all objects that concern a Service port into the order of their trial.

    A route with hosts of different rank becomes several, so that each of them has its place. Among
    routes of other objects, one of an object that keeps its order ranks no higher than those
    that its object tries before it.

    Source: Gateway API v1 HTTPRoute; the rank of regular expressions, which it leaves open, is
    between exact paths and prefixes, or else the prefix ``/`` would hide all of them.
    """
    placed = [
        (place, route) for routes_of_one in objects for place, route in _places(routes_of_one)
    ]
    placed.sort(key=lambda entry: entry[0])
    return tuple(route for _, route in placed)


def _places(routes_of_one: RouteObject) -> Iterator[tuple[_Placed, Route]]:
    lowest: dict[HostRank, _Rank] = {}
    position = 0
    for listed in routes_of_one.routes:
        for host, route in _by_host_rank(listed):
            rank = _rank(route.match)
            if routes_of_one.keeps_order:
                rank = lowest[host] = max(rank, lowest.get(host, rank))
            yield _Placed(host, rank, routes_of_one.created, routes_of_one.name, position), route
            position += 1


def _by_host_rank(route: Route) -> Iterator[tuple[HostRank, Route]]:
    for rank, hosts in by_host_rank(route.match.hosts):
        yield rank, replace(route, match=replace(route.match, hosts=hosts))


def by_host_rank(hosts: tuple[str, ...]) -> Iterable[tuple[HostRank, tuple[str, ...]]]:
    """The hosts of a route by their rank, the first of which is tried first; none mean any host."""
    by_rank: dict[HostRank, tuple[str, ...]] = {}
    for host in hosts:
        rank = _host_rank(host)
        by_rank[rank] = (*by_rank.get(rank, ()), host)
    return by_rank.items() if by_rank else [(_ANY_HOST, ())]


def _host_rank(host: str) -> HostRank:
    # Two different exact hosts never match the same request: their lengths need no comparison.
    if host == "*":
        return _ANY_HOST
    return (1, -len(host)) if host.startswith("*.") else _EXACT_HOST


def _rank(match: RouteMatch) -> _Rank:
    kind, length = _path_rank(match.path)
    return (kind, -length, 0 if match.method else 1, -len(match.headers), -len(match.query))


def _path_rank(path: TextMatch | None) -> tuple[int, int]:
    if path is None:
        return 2, 0
    if path.comparison is Comparison.EXACT:
        return 0, 0
    if path.comparison is Comparison.REGEX:
        return 1, len(path.value)
    if path.comparison is Comparison.PREFIX:
        # "/app/" means what "/app" does, and "/" every path.
        return 2, len(path.value.rstrip("/"))
    return 2, len(path.value)
