"""Service, Node and Namespace (core/v1)."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.fields import (
    FieldError,
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
from edgemesh.wire.quoting import quote


class Namespace(ObjectView, frozen=True, kw_only=True):
    """A Namespace: only its name matters here."""

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


def check_address(where: str, text: str) -> None:
    """Refuse what is not an IPv4 or IPv6 address.

    Raises:
        FieldError: naming ``where``.
    """
    try:
        canonical_address(text)
    except ValueError:
        raise FieldError(where, f"expected an IPv4 or IPv6 address, got {quote(text)}") from None


def check_service(service: Service) -> None:
    """Refuse a Service whose fields contradict each other.

    Raises:
        FieldError: naming the first such field.
    """
    spec = service.spec
    if not spec.ports and not service.headless and spec.type != "ExternalName":
        raise FieldError("spec.ports", "expected at least one port, got none")
    if spec.type == "ExternalName" and not spec.external_name:
        raise FieldError("spec.externalName", "required for type ExternalName, but missing")
    _check_addresses(service)
    _check_ports(spec.ports)


def _check_addresses(service: Service) -> None:
    spec = service.spec
    if spec.cluster_ip not in ("", "None"):
        check_address("spec.clusterIP", spec.cluster_ip)
    for index, address in enumerate(spec.cluster_ips):
        if address != "None":
            check_address(f"spec.clusterIPs[{index}]", address)
    for index, address in enumerate(spec.external_ips):
        check_address(f"spec.externalIPs[{index}]", address)
    for index, ingress in enumerate(service.status.load_balancer.ingress):
        if ingress.ip:
            check_address(f"status.loadBalancer.ingress[{index}].ip", ingress.ip)


def _check_ports(ports: tuple[ServicePort, ...]) -> None:
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        if not port.name and len(ports) > 1:
            raise FieldError(f"{where}.name", "required when there are several ports, but missing")
        if port.name in names:
            raise FieldError(f"{where}.name", f"expected a name used once, got {quote(port.name)}")
        if (port.protocol, port.port) in numbers:
            raise FieldError(
                f"{where}.port",
                f"expected a number used once for {port.protocol}, got {port.port}",
            )
        names.add(port.name)
        numbers.add((port.protocol, port.port))
