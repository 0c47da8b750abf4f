"""Service, Node and Namespace (core/v1)."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.fields import (
    AffinitySeconds,
    IpFamily,
    LabelOrEmpty,
    Port,
    PortName,
    PortOrUnset,
    Protocol,
)
from edgemesh.wire.kubernetes.metadata import (
    NamespaceMetadata,
    ObjectView,
    ServiceMetadata,
    View,
)


class Namespace(ObjectView, frozen=True, kw_only=True):
    """A Namespace: its name, and its labels."""

    metadata: NamespaceMetadata


class Node(ObjectView, frozen=True, kw_only=True):
    """A Node: its labels tell its zone and its role."""


class ServicePort(View, frozen=True, kw_only=True):
    """One port of a Service; ``target_port`` None means the same number as ``port``."""

    port: Port
    name: LabelOrEmpty = ""
    protocol: Protocol = "TCP"
    target_port: Port | PortName | None = None
    node_port: PortOrUnset = 0
    app_protocol: str = ""


class ClientIpConfig(View, frozen=True, kw_only=True):
    """How long a client that calls nothing is remembered, in seconds."""

    timeout_seconds: AffinitySeconds = 10800


class SessionAffinityConfig(View, frozen=True, kw_only=True):
    """``spec.sessionAffinityConfig`` of a Service."""

    client_ip: ClientIpConfig = field(name="clientIP", default=ClientIpConfig())


class ServiceSpec(View, frozen=True, kw_only=True):
    """``spec`` of a Service, with Kubernetes' defaults."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = field(name="clusterIPs", default=())
    external_ips: tuple[str, ...] = field(name="externalIPs", default=())
    external_name: str = ""
    ip_families: tuple[IpFamily, ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    publish_not_ready_addresses: bool = False
    allocate_load_balancer_node_ports: bool = True
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    traffic_distribution: str = ""

    @property
    def cluster_addresses(self) -> tuple[str, ...]:
        """The canonical ClusterIPs, the primary one first; none when headless or unset."""
        texts = self.cluster_ips or (self.cluster_ip,)
        return tuple(canonical_address(text) for text in texts if text not in ("", "None"))


class LoadBalancerIngress(View, frozen=True, kw_only=True):
    """One place where a load balancer takes traffic: an address, or a name that is not ours."""

    ip: str = ""


class LoadBalancerStatus(View, frozen=True, kw_only=True):
    """``status.loadBalancer`` of a Service."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(View, frozen=True, kw_only=True):
    """``status`` of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(ObjectView, frozen=True, kw_only=True):
    """A Service."""

    metadata: ServiceMetadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        """Whether clients are to find the endpoints themselves."""
        return self.spec.cluster_ip == "None"
