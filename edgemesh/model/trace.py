"""A trace's questions to the agent about a call: what would become of it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgemesh.model.services import Endpoint


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """A request that is asked about, as routing sees requests.

    Args:
        method, host, path, query: as in the head of a request; the host in lower case.
        headers: names in lower case.
    """

    method: str = "GET"
    host: str = ""
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def value(self, name: str) -> str | None:
        """The value of a header by its name; None when there is no such header."""
        values = [value for each, value in self.headers if each == name]
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """``null/trace``: which call is meant.

    Args:
        namespace, service: whose port is called.
        port: its number, 0 for the Service's first port.
        client: the address that calls, "" for the node itself.
        ipv6: whether it is called by its IPv6 address, where it has one of both.
        server_name: that a TLS client would name, "" for a call without TLS.
        request: on the path of requests, the one that is meant; None for no certain one.
    """

    namespace: str
    service: str
    port: int = 0
    client: str = ""
    ipv6: bool = False
    server_name: str = ""
    request: TracedRequest | None = None


@dataclass(frozen=True, slots=True)
class TracedPort:
    """The port that the question means, or that its route leads to.

    Args:
        port, name, transport, node_port, application_protocol, source: those of the
            ServicePort.
        policy: what is in force, in few words.
        address: the one that is called, "" when the Service has none (headless), or it is
            another that is called.
        endpoints: those that take new connections.
    """

    port: int
    name: str
    transport: str
    node_port: int
    application_protocol: str
    policy: str
    source: str
    address: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """What the agent knows and would decide now; asking changes nothing.

    Args:
        revision: of the snapshot that it decides by.
        known: whether the snapshot has the Service.
        type, headless, external_name, addresses: those of the Service.
        ports: every port number that it has, of either transport.
        port: the one that is meant, None when there is no such port.
        candidates: endpoints in the order in which they would be tried.
        path: the forwarding path, "" when refused.
        refusal: why the call would be refused, "" when it would not.
        route: the key of the route that the connection or the request takes, "" for none.
        routes: how many there are for requests of which none was named.
        target: where that leads, None for ``port``.
        node: the one that answers.
        server: what endpoints of the target let through, in few words; "" for everything.
        ways: by node, how endpoints are reached that are not dialled at their own addresses:
            ``link to node-b``.
        left_alone: why the call is none of the agent's business, "" when it is.
    """

    revision: int
    known: bool
    type: str = ""
    headless: bool = False
    external_name: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    port: TracedPort | None = None
    candidates: tuple[Endpoint, ...] = ()
    path: str = ""
    refusal: str = ""
    route: str = ""
    routes: int = 0
    target: TracedPort | None = None
    node: str = ""
    server: str = ""
    ways: Mapping[str, str] = field(default_factory=dict)
    left_alone: str = ""


@dataclass(frozen=True, slots=True)
class FlowQuestion:
    """``null/flow``: which TCP flow is open from this address and port?"""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class FlowAnswer:
    """The flow that was asked for.

    Args:
        known: whether one is open.
        endpoint: where it goes, None until that is connected.
        path: the forwarding path, "" until it is decided.
        way: how the endpoint is reached where that is by the bus.
    """

    known: bool
    endpoint: Endpoint | None = None
    path: str = ""
    way: str = ""
