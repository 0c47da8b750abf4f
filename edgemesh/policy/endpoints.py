"""The EndpointSlices that Kubernetes would compute for a Service with a selector.

Follows the endpointslice controller (k8s.io/endpointslice, ``utils.go``), for Services that are
applied where no cluster computes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from edgemesh.wire.addresses import family_of
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.core import Service, ServicePort
from edgemesh.wire.kubernetes.fields import IpFamily
from edgemesh.wire.kubernetes.pods import Pod

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "edgemesh"

_Ports = tuple[tuple[ServicePort, int], ...]


def derive_slices(
    service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The slices of a Service: one for each address family and each set of port numbers.

    Pods whose containers give a named port different numbers are in different slices. Names
    are made from the content, so that the same Pods give the same slices everywhere.

    Args:
        service: the body of a Service, its namespace filled in.
        pods: bodies of Pods; those that the selector does not match are passed over, so all
            Pods of the namespace will do.

    Raises:
        FieldError: the Service or a Pod that it selects is not valid.
    """
    view = decode_as(Service, service)
    if not view.spec.selector or view.spec.type == "ExternalName":
        return []
    chosen = [decode_as(Pod, pod) for pod in pods if _selects(view, pod)]
    groups: dict[tuple[IpFamily, _Ports], list[dict[str, Any]]] = {}
    for pod in sorted(chosen, key=lambda pod: pod.metadata.name):
        if pod.status.finished:
            continue
        ports = _resolve_ports(view, pod)
        for family in _families(view):
            addresses = _addresses(pod, family)
            if addresses:
                endpoint = _endpoint(view, pod, addresses)
                groups.setdefault((family, ports), []).append(endpoint)
    return [_slice(view, family, ports, endpoints) for (family, ports), endpoints in groups.items()]


def _selects(service: Service, pod: Mapping[str, Any]) -> bool:
    """Looks at the bare body: most Pods are passed over, and decoding each would be dear."""
    metadata = pod["metadata"]
    if metadata.get("namespace", "") != service.metadata.namespace:
        return False
    labels = metadata.get("labels") or {}
    return all(labels.get(key) == value for key, value in service.spec.selector.items())


def _families(service: Service) -> tuple[IpFamily, ...]:
    """Those of the Service; unset means that of its address, or both where it has none."""
    spec = service.spec
    if spec.ip_families:
        return spec.ip_families
    if service.headless:
        return ("IPv4", "IPv6")
    return tuple(family_of(address) for address in spec.cluster_addresses) or ("IPv4",)


def _addresses(pod: Pod, family: IpFamily) -> list[str]:
    return [address for address in pod.status.addresses if family_of(address) == family]


def _resolve_ports(service: Service, pod: Pod) -> _Ports:
    """Each port of the Service with the Pod's number; a name that the Pod lacks is left out."""
    resolved = ((port, _target(port, pod)) for port in service.spec.ports)
    return tuple((port, number) for port, number in resolved if number is not None)


def _target(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port
    if target is None:
        return port.port
    if isinstance(target, int):
        return target
    for container in pod.spec.containers:
        for candidate in container.ports:
            if candidate.name == target and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def _endpoint(service: Service, pod: Pod, addresses: list[str]) -> dict[str, Any]:
    terminating = bool(pod.metadata.deletion_timestamp)
    serving = pod.status.ready
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    reference = {
        "kind": "Pod",
        "namespace": pod.metadata.namespace,
        "name": pod.metadata.name,
        "uid": pod.metadata.uid,
    }
    endpoint: dict[str, Any] = {
        "addresses": addresses,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {key: value for key, value in reference.items() if value},
    }
    if pod.spec.node_name:
        endpoint["nodeName"] = pod.spec.node_name
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        endpoint["hostname"] = pod.spec.hostname
    return endpoint


def _slice(
    service: Service, family: IpFamily, ports: _Ports, endpoints: list[dict[str, Any]]
) -> dict[str, Any]:
    name = service.metadata.name
    bodies = [_port(port, number) for port, number in ports]
    digest = hashlib.sha256(repr(bodies).encode()).hexdigest()[:8]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{family.lower()}-{digest}",
            "namespace": service.metadata.namespace,
            "labels": {SERVICE_NAME_LABEL: name, MANAGED_BY_LABEL: MANAGER},
        },
        "addressType": family,
        "ports": bodies,
        "endpoints": endpoints,
    }


def _port(port: ServicePort, number: int) -> dict[str, Any]:
    body = {"name": port.name, "port": number, "protocol": port.protocol}
    return body | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
