"""Routes: what the routes of the Gateway API and Istio's VirtualService both become.

A rule with several matches becomes several routes that share their key. A Service port holds
its routes in the order in which they are tried, so the first one that matches is the one.
Requests have a Route, connections that are passed on as they are a ConnectionRoute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgemesh.model.policies import Retries


class Comparison(StrEnum):
    """How a text is compared."""

    EXACT = "exact"
    PREFIX = "prefix"  # plain text; for paths: whole segments
    TEXT_PREFIX = "text_prefix"  # paths as Istio has it: "/app" also matches "/application"
    REGEX = "regex"  # of the whole text
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A condition on one header (name in lower case) or query parameter.

    ``ignore_case`` holds for the value.
    """

    name: str
    comparison: Comparison
    value: str = ""
    ignore_case: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A condition on a path, method, host or scheme."""

    comparison: Comparison
    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """All conditions hold, or the route is not taken; what is empty always holds.

    Args:
        hosts: ``web.example.org`` or ``*.example.org``, in lower case, without a port; one of
            them has to match.
        path: compared as it was sent, without the query.
        method: see there.
        headers, query: see there.
        source_labels: of the calling Pod.
        source_namespace: of the calling Pod, "" for any.
    """

    hosts: tuple[str, ...] = ()
    path: TextMatch | None = None
    method: TextMatch | None = None
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    source_labels: tuple[tuple[str, str], ...] = ()
    source_namespace: str = ""


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Changes to the headers of a message, in this order; names in lower case."""

    remove: tuple[str, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A changed request target.

    Args:
        host: instead of that of the request, "" for no change.
        full_path: instead of the path, None for no change.
        prefix: what the matched prefix is replaced by, None for no change.
        regex, substitution: Istio's ``uriRegexRewrite``; "" for none.
    """

    host: str = ""
    full_path: str | None = None
    prefix: str | None = None
    regex: str = ""
    substitution: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that sends the client elsewhere; what is empty stays as in the request."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: Rewrite | None = None
    status: int = 302


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """An answer that no endpoint gives."""

    status: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a route's calls go, with its share of them.

    Args:
        namespace, service, port: a Service port; port 0 for the one that was called.
        subset: "" for all endpoints.
        weight: 0 for never.
        request, response: header changes for this backend only.
        problem: why it cannot be used, "" when it can; its share is answered 500.
    """

    namespace: str
    service: str
    port: int
    subset: str = ""
    weight: int = 1
    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One way for requests that match.

    Args:
        key: ``HTTPRoute default/web rule 0``: for reports, metrics and quotas per route.
        match: see there.
        backends: empty for the Service port that was called.
        request, response: header changes.
        rewrite, redirect, direct: see there; None for none.
        request_seconds: deadline of the whole request; None for that of the policy, 0 for none.
        retries: None for those of the policy.
    """

    key: str
    match: RouteMatch = RouteMatch()
    backends: tuple[Backend, ...] = ()
    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    direct: DirectResponse | None = None
    request_seconds: float | None = None
    retries: Retries | None = None


@dataclass(frozen=True, slots=True)
class ConnectionRoute:
    """One way for connections that match; what is empty always holds.

    Args:
        key: ``TLSRoute default/web rule 0``: for reports and quotas per route.
        server_names: ``web.example.org``, ``*.example.org`` or ``*`` for every name, in lower
            case; the ClientHello has to name one of them.
        alpn: protocols of which a TLS client has to offer one (RFC 7301).
        source_labels: of the calling Pod.
        source_namespace: of the calling Pod.
        backends: one or more.
    """

    key: str
    backends: tuple[Backend, ...]
    server_names: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    source_labels: tuple[tuple[str, str], ...] = ()
    source_namespace: str = ""

    @property
    def needs_hello(self) -> bool:
        """Whether a connection has to say something before it is known to match."""
        return bool(self.server_names or self.alpn)
