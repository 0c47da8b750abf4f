"""VirtualService: where the requests and connections for some hosts are routed.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import field

from edgemesh.wire.kubernetes.fields import Count, Port
from edgemesh.wire.kubernetes.istio.destination_rule import Host, PortSelector
from edgemesh.wire.kubernetes.istio.retry_on import DEFAULT_RETRY_ON, RetryOn
from edgemesh.wire.kubernetes.parsed import ChangeableHeader, Duration
from edgemesh.wire.kubernetes.quantities import (
    Authority,
    FinalStatus,
    HeaderName,
    HeaderValue,
    HostPattern,
    HttpPath,
    Pattern,
    RedirectStatus,
    Text,
    Weight,
    pattern_problem,
)
from edgemesh.wire.kubernetes.tolerant import BINDING, PolicyObject, PolicyView
from edgemesh.wire.quoting import quote
from edgemesh.wire.regex import rewrite_problem

MESH: Literal["mesh"] = "mesh"


class StringMatch(PolicyView, frozen=True, kw_only=True):
    """A condition on a text; an empty one holds for every text that is there."""

    whole: ClassVar[bool] = True
    one_of: ClassVar[tuple[str, ...]] = ("exact", "prefix", "regex")

    exact: Text | None = None
    prefix: Text | None = None
    regex: Pattern | None = None

    def check(self) -> str:
        """Refuse a pattern that cannot be used."""
        return pattern_problem(self.regex) if self.regex is not None else ""


class RequestMatch(PolicyView, frozen=True, kw_only=True):
    """Conditions that must all hold; ``name`` and ``stat_prefix`` are no conditions."""

    whole: ClassVar[bool] = True

    name: str = ""
    stat_prefix: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[HeaderName, StringMatch] = field(default_factory=dict)
    without_headers: dict[HeaderName, StringMatch] = field(default_factory=dict)
    query_params: dict[str, StringMatch] = field(default_factory=dict)
    ignore_uri_case: bool = False
    port: Port | None = None
    source_labels: dict[str, str] = field(default_factory=dict)
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class HeaderOperations(PolicyView, frozen=True, kw_only=True):
    """Changes to the headers of one message."""

    set: dict[ChangeableHeader, HeaderValue] = field(default_factory=dict)
    add: dict[ChangeableHeader, HeaderValue] = field(default_factory=dict)
    remove: tuple[ChangeableHeader, ...] = ()


class Headers(PolicyView, frozen=True, kw_only=True):
    """Changes to the headers of requests and responses."""

    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


class Destination(PolicyView, frozen=True, kw_only=True):
    """A Service, by its name or its DNS name; without a port, its only one or the called one."""

    host: Host
    port: PortSelector | None = None
    subset: str = ""


class WeightedDestination(PolicyView, frozen=True, kw_only=True):
    """A destination with its share of the calls; the only one has all of them."""

    destination: Destination
    weight: Weight | None = None


class RouteDestination(WeightedDestination, frozen=True, kw_only=True):
    """The same for requests."""

    headers: Headers = Headers()


class Redirect(PolicyView, frozen=True, kw_only=True):
    """An answer that sends the client elsewhere."""

    one_of: ClassVar[tuple[str, ...]] = ("port", "derive_port")

    uri: HttpPath | None = None
    authority: Authority | None = None
    port: Port | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: Literal["http", "https"] | None = None
    redirect_code: RedirectStatus = 301


class RegexRewrite(PolicyView, frozen=True, kw_only=True):
    """Every match in the path is replaced."""

    match: Pattern
    rewrite: Text

    def check(self) -> str:
        """Refuse what cannot be done."""
        problem = rewrite_problem(self.match, self.rewrite)
        return f"the regular expression {quote(self.match)} {problem}" if problem else ""


class Rewrite(PolicyView, frozen=True, kw_only=True):
    """Changes to the request's path and host; ``uri`` replaces what was matched."""

    one_of: ClassVar[tuple[str, ...]] = ("uri", "uri_regex_rewrite")

    uri: HttpPath | None = None
    authority: Authority | None = None
    uri_regex_rewrite: RegexRewrite | None = None


class Retries(PolicyView, frozen=True, kw_only=True):
    """Requests that are repeated."""

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"retryRemoteLocalities", "retryIgnorePreviousHosts"}
    )

    attempts: Count
    per_try_timeout: Duration | None = None
    retry_on: RetryOn = DEFAULT_RETRY_ON
    backoff: Duration | None = None


class ResponseBody(PolicyView, frozen=True, kw_only=True):
    """The text of an answer."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"bytes"})

    string: Text = ""


class DirectResponse(PolicyView, frozen=True, kw_only=True):
    """An answer that no endpoint gives."""

    status: FinalStatus
    body: ResponseBody = ResponseBody()


class HttpRoute(PolicyView, frozen=True, kw_only=True):
    """One rule: it is taken when one of its matches holds, or when it has none."""

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {
            "corsPolicy",
            "delegate",
            "fault",
            "mirror",
            "mirrorPercent",
            "mirrorPercentage",
            "mirrors",
        }
    )

    name: str = ""
    match: Annotated[tuple[RequestMatch, ...], BINDING] = ()
    route: Annotated[tuple[RouteDestination, ...], BINDING] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    rewrite: Rewrite | None = None
    timeout: Duration | None = None
    retries: Retries | None = None
    headers: Headers = Headers()

    def check(self) -> str:
        """Refuse a rule that leads nowhere."""
        if self.route or self.redirect or self.direct_response:
            return ""
        return "expected route, redirect or directResponse, got none of them"


class ConnectionMatch(PolicyView, frozen=True, kw_only=True):
    """Conditions of a connection that must all hold."""

    whole: ClassVar[bool] = True
    unsupported: ClassVar[frozenset[str]] = frozenset({"destinationSubnets", "sourceSubnet"})

    port: Port | None = None
    source_labels: dict[str, str] = field(default_factory=dict)
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class TlsMatch(ConnectionMatch, frozen=True, kw_only=True):
    """The same with names of which the ClientHello has one."""

    sni_hosts: tuple[HostPattern, ...]

    def check(self) -> str:
        """Refuse conditions that name nothing."""
        return "" if self.sni_hosts else "expected sniHosts, got none"


class TcpRoute(PolicyView, frozen=True, kw_only=True):
    """One rule for connections: it is taken when one of its matches holds, or it has none."""

    match: Annotated[tuple[ConnectionMatch, ...], BINDING] = ()
    route: Annotated[tuple[WeightedDestination, ...], BINDING]

    def check(self) -> str:
        """Refuse a rule that leads nowhere."""
        return "" if self.route else "expected route, got none"


class TlsRoute(TcpRoute, frozen=True, kw_only=True):
    """One rule for TLS connections, which stay as they are."""

    match: Annotated[tuple[TlsMatch, ...], BINDING]


class VirtualServiceSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a VirtualService; gateways other than the mesh are none of ours."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"exportTo"})

    hosts: Annotated[tuple[HostPattern, ...], BINDING]
    gateways: tuple[Literal["mesh"], ...] = (MESH,)
    http: tuple[HttpRoute, ...] = ()
    tls: tuple[TlsRoute, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()

    def check(self) -> str:
        """Refuse a VirtualService for nothing."""
        return "" if self.hosts else "expected hosts, got none"


class VirtualService(PolicyObject, frozen=True, kw_only=True):
    """A VirtualService."""

    spec: VirtualServiceSpec
