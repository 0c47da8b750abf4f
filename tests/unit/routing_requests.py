"""Requests and routes in few words, for tests of routing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgemesh.model.routes import Comparison, NamedMatch, Route, RouteMatch, TextMatch


@dataclass(frozen=True, slots=True)
class Request:
    """A head as routing sees it."""

    path: str = "/"
    host: str = "web"
    method: str = "GET"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def value(self, name: str) -> str | None:
        return dict(self.headers).get(name)


def request(target: str = "/", **headers: str) -> Request:
    """A request for ``[host]/path?query``; ``method`` is no header, ``_`` stands for ``-``."""
    host, slash, path = target.partition("/")
    path, _, query = f"{slash}{path}".partition("?")
    method = headers.pop("method", "GET")
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(path or "/", host or "web", method, query, named)


def exact(path: str) -> TextMatch:
    return TextMatch(Comparison.EXACT, path)


def prefix(path: str) -> TextMatch:
    return TextMatch(Comparison.PREFIX, path)


def regex(path: str) -> TextMatch:
    return TextMatch(Comparison.REGEX, path)


def header(name: str, value: str, comparison: Comparison = Comparison.EXACT) -> NamedMatch:
    return NamedMatch(name, comparison, value)


def route(
    key: str,
    path: TextMatch | None = None,
    *,
    method: str = "",
    headers: tuple[NamedMatch, ...] = (),
    query: tuple[NamedMatch, ...] = (),
    hosts: tuple[str, ...] = (),
) -> Route:
    methods = exact(method) if method else None
    return Route(key, RouteMatch(hosts, path, methods, headers, query))


def with_hosts(routes: tuple[Route, ...], *hosts: str) -> tuple[Route, ...]:
    return tuple(replace(one, match=replace(one.match, hosts=hosts)) for one in routes)
