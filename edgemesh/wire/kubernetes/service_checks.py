"""What the fields of a Service must not say together (Kubernetes' ``ValidateService``)."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.wire.addresses import canonical_address, family_of
from edgemesh.wire.kubernetes.address_checks import check_address
from edgemesh.wire.kubernetes.core import Service, ServicePort, ServiceSpec
from edgemesh.wire.kubernetes.fields import FieldError, IpFamily
from edgemesh.wire.quoting import quote


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
    _check_families(spec)
    _check_ports(spec.ports)


def _check_addresses(service: Service) -> None:
    spec = service.spec
    if spec.cluster_ip not in ("", "None"):
        check_address("spec.clusterIP", spec.cluster_ip)
    for index, address in enumerate(spec.cluster_ips):
        if address not in ("", "None"):
            check_address(f"spec.clusterIPs[{index}]", address)
    for index, address in enumerate(spec.external_ips):
        check_address(f"spec.externalIPs[{index}]", address)
    for index, ingress in enumerate(service.status.load_balancer.ingress):
        if ingress.ip:
            check_address(f"status.loadBalancer.ingress[{index}].ip", ingress.ip)


def _check_families(spec: ServiceSpec) -> None:
    addresses = spec.cluster_addresses
    families = [family_of(address) for address in addresses]
    _check_stacks("spec.clusterIPs", families, spec)
    _check_stacks("spec.ipFamilies", spec.ip_families, spec)
    if addresses and spec.cluster_ip:
        primary = canonical_address(spec.cluster_ip)
        if primary != addresses[0]:
            problem = f"expected spec.clusterIP, which is {primary}, got {addresses[0]}"
            raise FieldError("spec.clusterIPs[0]", problem)
    for index, (expected, found) in enumerate(zip(spec.ip_families, families, strict=False)):
        if expected != found:
            where = f"spec.clusterIPs[{index}]" if spec.cluster_ips else "spec.clusterIP"
            problem = f"expected an {expected} address as in ipFamilies, got {addresses[index]}"
            raise FieldError(where, problem)


def _check_stacks(where: str, families: Sequence[IpFamily], spec: ServiceSpec) -> None:
    """At most one primary and one secondary, and two only where the policy allows them."""
    told = " and ".join(families)
    if len(set(families)) < len(families):
        raise FieldError(where, f"expected each address family once, got {told}")
    if len(families) > 1 and spec.ip_family_policy == "SingleStack":
        raise FieldError(where, f"expected one address family for SingleStack, got {told}")


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
