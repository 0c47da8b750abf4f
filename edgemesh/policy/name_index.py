"""What names need of a snapshot beyond its own look-ups, each part built when first asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from edgemesh.model.services import Endpoint, Service, Snapshot
from edgemesh.policy.zone import Zone
from edgemesh.wire.dns.records import Record

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_label(text: str) -> bool:
    """Whether a text can be a label of a host's name, in lower case (RFC 1123 section 2.1)."""
    return _LABEL.fullmatch(text) is not None


def endpoint_label(endpoint: Endpoint) -> str:
    """The label of an endpoint in its headless Service: its hostname or its dashed address."""
    hostname = endpoint.hostname.lower()
    return hostname if is_label(hostname) else dashed(endpoint.address)


def dashed(address: str) -> str:
    """``10-1-2-3`` or ``fd00--7``; a label neither begins nor ends with a dash, so 0 fills up."""
    label = address.replace(".", "-").replace(":", "-")
    front = "0" if label.startswith("-") else ""
    back = "0" if label.endswith("-") else ""
    return f"{front}{label}{back}"


def undashed(label: str) -> str | None:
    """The address whose dashed form a label is, None when it is none."""
    for kind, separator in ((IPv4Address, "."), (IPv6Address, ":")):
        try:
            address = str(kind(label.replace("-", separator)))
        except ValueError:
            continue
        # One address, one name: fd00-0--7 is another spelling.
        return address if dashed(address) == label else None
    return None


class Owner(NamedTuple):
    """Who an address belongs to: a Service and, in a headless one, the endpoint's label."""

    service: Service
    label: str = ""


class NameIndex:
    """Indexes over one snapshot for one zone.

    Building them costs time only when the first question of its kind comes, so that a snapshot that
    is soon replaced costs nothing.
    """

    def __init__(self, snapshot: Snapshot, zone: Zone) -> None:
        self.snapshot = snapshot
        self.zone = zone
        self._hosts: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}

    def hosts(self, service: Service) -> dict[str, tuple[str, ...]]:
        """The addresses of a headless Service's endpoints by label, in the endpoints' order."""
        key = (service.namespace, service.name)
        found = self._hosts.get(key)
        if found is None:
            found = self._hosts[key] = _hosts_of(service)
        return found

    @cached_property
    def start(self) -> Record:
        """The zone's SOA record, which comes with every denial."""
        return self.zone.start(self.zone.domain, self.snapshot.revision)

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """Namespaces that hold a Service or a Pod."""
        with_services = {namespace for namespace, _ in self.snapshot.services}
        return frozenset(with_services.union(pod.namespace for pod in self.snapshot.pods.values()))

    def pod_address(self, namespace: str, label: str) -> str | None:
        """The address that a Pod's name says, if a Pod of that namespace has it."""
        address = undashed(label)
        pod = self.snapshot.pods.get(address) if address else None
        return address if pod is not None and pod.namespace == namespace else None

    def owners(self, address: str) -> Sequence[Owner]:
        """The Service with this ClusterIP, else every headless one with such an endpoint."""
        service = self._by_cluster_address.get(address)
        return [Owner(service)] if service else self._by_endpoint.get(address, ())

    @cached_property
    def _by_cluster_address(self) -> dict[str, Service]:
        services = self.snapshot.services.values()
        return {address: service for service in services for address in service.cluster_addresses}

    @cached_property
    def _by_endpoint(self) -> dict[str, list[Owner]]:
        found: dict[str, list[Owner]] = {}
        for service in self.snapshot.services.values():
            if service.headless:
                for label, addresses in self.hosts(service).items():
                    for address in addresses:
                        found.setdefault(address, []).append(Owner(service, label))
        return found


def _endpoints_of(service: Service) -> list[Endpoint]:
    with_port = [endpoint for port in service.ports for endpoint in port.endpoints]
    return [*with_port, *service.portless_endpoints]


def _hosts_of(service: Service) -> dict[str, tuple[str, ...]]:
    by_label: dict[str, dict[str, None]] = {}
    for endpoint in _endpoints_of(service):
        by_label.setdefault(endpoint_label(endpoint), {})[endpoint.address] = None
    return {label: tuple(addresses) for label, addresses in by_label.items()}
