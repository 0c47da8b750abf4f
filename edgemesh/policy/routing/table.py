"""The routes of a Service port, made ready for requests."""

from __future__ import annotations

from typing import Final

from edgemesh.model.routes import Route
from edgemesh.policy.routing.conditions import other_conditions, path_condition
from edgemesh.policy.routing.request import Caller, RequestFacts


class RouteTable:
    """Routes in the order in which they are tried.

    Attributes:
        routes: as they were given.
        needs_caller: whether a route depends on who calls; without one, that is not looked up.
    """

    __slots__ = ("_entries", "needs_caller", "routes")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self.needs_caller = any(
            route.match.source_namespace or route.match.source_labels for route in routes
        )
        self._entries = tuple(
            (route, path_condition(route.match.path), other_conditions(route.match))
            for route in routes
        )

    def match(self, request: RequestFacts, caller: Caller | None) -> Route | None:
        """The first route whose conditions all hold, None when there is none.

        Args:
            request: the head.
            caller: who sent it; None when it is not known, and then no route is taken that
                depends on it.
        """
        path = request.path
        for route, is_path, others_hold in self._entries:
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
