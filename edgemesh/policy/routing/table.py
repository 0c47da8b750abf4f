"""The routes of a Service port, made ready for requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgemesh.model.routes import Route
from edgemesh.policy.routing.conditions import OfRequest, OfText, other_conditions, path_condition
from edgemesh.policy.routing.path_index import PathIndex, is_looked_up
from edgemesh.policy.routing.request import Caller, RequestFacts

# Trying so many paths takes as long as looking one up: 0.7 microseconds.
_FEW: Final = 6
_Entry = tuple[Route, OfText | None, OfRequest | None]


class RouteTable:
    """Routes in the order in which they are tried.

    Attributes:
        routes: as they were given.
        needs_caller: whether a route depends on who calls; without one, that is not looked up.
    """

    __slots__ = ("_entries", "_index", "needs_caller", "routes")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self.needs_caller = any(
            route.match.source_namespace or route.match.source_labels for route in routes
        )
        paths = [route.match.path for route in routes]
        indexed = sum(map(is_looked_up, paths)) > _FEW
        self._index = PathIndex(paths) if indexed else None
        self._entries = tuple(
            (
                route,
                None if indexed and is_looked_up(path) else path_condition(path),
                other_conditions(route.match),
            )
            for route, path in zip(routes, paths, strict=True)
        )

    def match(self, request: RequestFacts, caller: Caller | None) -> Route | None:
        """The first route whose conditions all hold, None when there is none.

        Args:
            request: the head.
            caller: who sent it; None when it is not known, and then no route is taken that
                depends on it.
        """
        path = request.path
        entries: Iterable[_Entry] = self._entries
        if self._index is not None:
            entries = [self._entries[position] for position in self._index.candidates(path)]
        for route, is_path, others_hold in entries:
            if (is_path is None or is_path(path)) and (
                others_hold is None or others_hold(request, caller)
            ):
                return route
        return None


# Tables of Service ports that are gone leave when so many newer ones are there.
_KEPT: Final = 4096
_tables: dict[int, RouteTable] = {}


def route_table(routes: tuple[Route, ...]) -> RouteTable:
    """The table of these routes: made at the first call, kept for as long as they are the same.

    The same tuple is meant, not an equal one: comparing costs more than a match.
    """
    table = _tables.get(id(routes))
    if table is None:
        if len(_tables) == _KEPT:
            del _tables[next(iter(_tables))]
        # The table holds the tuple, so that no other object gets its id.
        table = _tables[id(routes)] = RouteTable(routes)
    return table
