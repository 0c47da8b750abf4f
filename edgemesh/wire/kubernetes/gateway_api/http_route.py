"""HTTPRoute: where the requests for a Service are routed (GAMMA, GEP-1294).

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from edgemesh.wire.kubernetes.fields import Count, Port
from edgemesh.wire.kubernetes.gateway_api.references import ParentReference
from edgemesh.wire.kubernetes.gateway_api.requests import (
    FilteredBackend,
    HeaderMatch,
    HeadersFilter,
    ValueMatchType,
)
from edgemesh.wire.kubernetes.parsed import Duration
from edgemesh.wire.kubernetes.quantities import (
    Authority,
    ErrorStatus,
    HostPattern,
    HttpPath,
    Method,
    RedirectStatus,
    Text,
    pattern_problem,
)
from edgemesh.wire.kubernetes.tolerant import BINDING, PolicyObject, PolicyView


class PathMatch(PolicyView, frozen=True, kw_only=True):
    """A condition on the path; a prefix is of whole segments."""

    whole: ClassVar[bool] = True

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Text = "/"

    def check(self) -> str:
        """Refuse what no path can be."""
        if self.type == "RegularExpression":
            return pattern_problem(self.value)
        return "" if self.value.startswith("/") else "expected a path that begins with /"


class QueryMatch(PolicyView, frozen=True, kw_only=True):
    """A condition on a query parameter."""

    whole: ClassVar[bool] = True

    type: ValueMatchType = "Exact"
    name: Text
    value: Text

    def check(self) -> str:
        """Refuse a pattern that cannot be used."""
        return pattern_problem(self.value) if self.type == "RegularExpression" else ""


class RequestMatch(PolicyView, frozen=True, kw_only=True):
    """Conditions that must all hold."""

    whole: ClassVar[bool] = True

    path: PathMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryMatch, ...] = ()
    method: Method | None = None


class PathModifier(PolicyView, frozen=True, kw_only=True):
    """Another path, or another prefix of it."""

    whole: ClassVar[bool] = True
    one_of: ClassVar[tuple[str, ...]] = ("replace_full_path", "replace_prefix_match")

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: HttpPath | None = None
    replace_prefix_match: Text | None = None


class RedirectFilter(PolicyView, frozen=True, kw_only=True):
    """An answer that sends the client elsewhere."""

    whole: ClassVar[bool] = True

    scheme: Literal["http", "https"] | None = None
    hostname: Authority | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: RedirectStatus = 302


class RewriteFilter(PolicyView, frozen=True, kw_only=True):
    """Changes to the request's path and host."""

    whole: ClassVar[bool] = True

    hostname: Authority | None = None
    path: PathModifier | None = None


class Filter(HeadersFilter, frozen=True, kw_only=True):
    """A filter of a rule; what it does stands in the field that ``type`` names."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"requestMirror", "extensionRef", "cors"})

    request_redirect: RedirectFilter | None = None
    url_rewrite: RewriteFilter | None = None


class RouteTimeouts(PolicyView, frozen=True, kw_only=True):
    """Of the whole request, and of each try at a backend; 0s for none."""

    request: Duration | None = None
    backend_request: Duration | None = None


class RouteRetry(PolicyView, frozen=True, kw_only=True):
    """Requests that are repeated (GEP-1731)."""

    codes: tuple[ErrorStatus, ...] = ()
    attempts: Count | None = None
    backoff: Duration | None = None


class RouteRule(PolicyView, frozen=True, kw_only=True):
    """One rule: it is taken when one of its matches holds, or when it has none."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"sessionPersistence"})

    name: str = ""
    matches: Annotated[tuple[RequestMatch, ...], BINDING] = ()
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[FilteredBackend, ...] = ()
    timeouts: RouteTimeouts = RouteTimeouts()
    retry: RouteRetry | None = None


class HttpRouteSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of an HTTPRoute."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"useDefaultGateways"})

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: Annotated[tuple[HostPattern, ...], BINDING] = ()
    rules: tuple[RouteRule, ...] = ()


class HTTPRoute(PolicyObject, frozen=True, kw_only=True):
    """An HTTPRoute."""

    spec: HttpRouteSpec
