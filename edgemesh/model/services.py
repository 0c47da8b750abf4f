"""Services as the data plane sees them: one immutable, indexed snapshot.

The control plane builds a whole new snapshot for every change and the data plane swaps it;
nothing here is ever changed in place, so readers need no lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from edgemesh.model.policies import DEFAULT_POLICY, NO_SUBSETS, Policy, Subset
from edgemesh.model.routes import ConnectionRoute, Route

# Namespace and name.
ServiceName = tuple[str, str]
# Namespace, service, transport, port.
PortKey = tuple[str, str, str, int]

NO_LABELS: Mapping[str, str] = {}


class Transport(StrEnum):
    """Transport protocols, spelled as Kubernetes does."""

    TCP = "TCP"
    UDP = "UDP"


class Source(StrEnum):
    """Which address an endpoint sees as its client."""

    NODE = "node"
    PRESERVE = "preserve"


class ServiceAddress(NamedTuple):
    """Where a Service port is called: canonical address text, transport, port."""

    address: str
    transport: Transport
    port: int


class NodePort(NamedTuple):
    """A port that is called on any of the node's own addresses."""

    transport: Transport
    port: int


@dataclass(frozen=True, slots=True)
class InboundAddress:
    """An endpoint of this node, where calls that come from elsewhere are intercepted.

    No tuple: it must not be equal to the ServiceAddress of the same parts.
    """

    address: str
    transport: Transport
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where a Service port is served.

    Args:
        address: canonical IPv4 or IPv6 text.
        port: the endpoint's own port, 1 to 65535.
        node: the node it runs on, "" when unknown.
        zone: the zone of that node, "" when unknown.
        pod: ``namespace/name`` of its Pod, "" when it is none.
        hostname: its own DNS label in a headless Service, "" when it has none.
        weight: its share of calls against that of others, 0 for none.
    """

    address: str
    port: int
    node: str = ""
    zone: str = ""
    pod: str = ""
    hostname: str = ""
    weight: int = 1

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is IPv6."""
        return ":" in self.address


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service, with everything that a decision about it needs.

    Args:
        namespace, service: whose port it is.
        name: the port's name, "" when it has none.
        transport: TCP or UDP.
        port: the number that clients call.
        node_port: the number on the node's addresses, 0 when there is none.
        application_protocol: declared by ``appProtocol`` or by the name's prefix, in lower
            case ("http", "http2", "grpc", "tls", "tcp", "udp"); "" when nothing is declared.
        policy: how calls are balanced, limited, broken off and repeated.
        source: which client address the endpoint sees.
        endpoints: those that take new connections now, in a stable order, IPv4 and IPv6.
        subsets: parts of the endpoints, by the names that routes give them.
        routes: of requests, in the order in which they are tried.
        connection_routes: of connections that are relayed, in the order in which they are tried;
            one that none of them matches goes to the endpoints above.
        inbound: it is the port as calls see it that reach its one endpoint, of this node, at the
            endpoint's own address (`policy.inbound`).
        by_stream: the same for calls that come by a stream of another end of the mesh.
    """

    namespace: str
    service: str
    name: str
    transport: Transport
    port: int
    node_port: int = 0
    application_protocol: str = ""
    policy: Policy = DEFAULT_POLICY
    source: Source = Source.NODE
    endpoints: tuple[Endpoint, ...] = ()
    subsets: Mapping[str, Subset] = field(default_factory=lambda: NO_SUBSETS)
    routes: tuple[Route, ...] = ()
    connection_routes: tuple[ConnectionRoute, ...] = ()
    inbound: bool = False
    by_stream: bool = False

    @property
    def key(self) -> PortKey:
        """Identity that outlives snapshots: state such as a round-robin position hangs on it."""
        if self.inbound:
            (endpoint,) = self.endpoints
            way = "by stream at" if self.by_stream else "at"
            where = f"{self.transport} {way} {endpoint.address} {endpoint.port}"
            return (self.namespace, self.service, where, self.port)
        return self.limits_key

    @property
    def limits_key(self) -> PortKey:
        """The key of the port whose server limits its calls count for, inbound or not."""
        return (self.namespace, self.service, self.transport, self.port)

    def __str__(self) -> str:
        """``default/web:80``, for messages to people."""
        return f"{self.namespace}/{self.service}:{self.port}"


@dataclass(frozen=True, slots=True)
class Service:
    """One Service.

    Args:
        namespace, name: its name.
        type: ``ClusterIP``, ``NodePort``, ``LoadBalancer`` or ``ExternalName``.
        cluster_addresses: ClusterIPs; empty for headless and ExternalName.
        other_addresses: externalIPs and load-balancer addresses.
        headless: ``clusterIP: None``.
        external_name: the CNAME of an ExternalName Service, "" otherwise.
        publish_not_ready: ``publishNotReadyAddresses``; DNS names endpoints before they are ready.
        ports: its ports; those of a ``publishNotReadyAddresses`` Service hold the endpoints that
            are not ready, too, as Kubernetes' own EndpointSlices do.
        portless_endpoints: of a headless Service that declares no port; their port is 0.
    """

    namespace: str
    name: str
    type: str = "ClusterIP"
    cluster_addresses: tuple[str, ...] = ()
    other_addresses: tuple[str, ...] = ()
    headless: bool = False
    external_name: str = ""
    publish_not_ready: bool = False
    ports: tuple[ServicePort, ...] = ()
    portless_endpoints: tuple[Endpoint, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address whose ports are intercepted."""
        return self.cluster_addresses + self.other_addresses


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Who calls: looked up by a flow's client address, for reports and policies.

    Args:
        namespace, name: which Pod.
        workload: the name of what made it, that of a Deployment for instance; its own when it
            stands alone.
        labels: of the Pod.
        node: that it runs on, "" when that is not known.
        left_alone: why calls that it makes are not intercepted, "" when they are.
    """

    namespace: str
    name: str
    workload: str = field(default="", compare=False)
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS, compare=False)
    node: str = field(default="", compare=False)
    left_alone: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Callers:
    """Whose calls are intercepted: everybody's but those of some Pods, or these Pods' alone.

    Args:
        listed: addresses of these Pods. Those on the node's own network have none.
        only_listed: whether it is their calls alone; nobody else's then, not the node's own either.
    """

    listed: frozenset[str] = frozenset()
    only_listed: bool = False


EVERYBODY = Callers()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the data plane and DNS know, at one revision.

    Args:
        revision: the store's revision that it was built from.
        node: this node's name.
        zone: this node's zone, "" when unknown.
        tcp, udp: Service ports by (address, port), as getsockname() spells them.
        tcp_node_ports, udp_node_ports: by port alone, for the node's own addresses.
        tcp_inbound, udp_inbound: `ServicePort.inbound` ones by their endpoint's (address, port).
        services: by (namespace, name).
        pods: by address.
        callers: whose calls are intercepted.
        ports: Service ports by their key, those without an address and inbound ones, too.
        ruled: Services that a Rule leads to, with the numbers of the ports that it means; none for
            all of them.
    """

    revision: int = 0
    node: str = ""
    zone: str = ""
    tcp: Mapping[tuple[str, int], ServicePort] = field(default_factory=dict)
    udp: Mapping[tuple[str, int], ServicePort] = field(default_factory=dict)
    tcp_node_ports: Mapping[int, ServicePort] = field(default_factory=dict)
    udp_node_ports: Mapping[int, ServicePort] = field(default_factory=dict)
    tcp_inbound: Mapping[tuple[str, int], ServicePort] = field(default_factory=dict)
    udp_inbound: Mapping[tuple[str, int], ServicePort] = field(default_factory=dict)
    services: Mapping[tuple[str, str], Service] = field(default_factory=dict)
    pods: Mapping[str, PodIdentity] = field(default_factory=dict)
    callers: Callers = EVERYBODY
    ports: Mapping[PortKey, ServicePort] = field(default_factory=dict)
    ruled: Mapping[ServiceName, frozenset[int]] = field(default_factory=dict)
