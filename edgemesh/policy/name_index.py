"""What names need of a snapshot beyond its own look-ups, each part built when first asked for."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final, NamedTuple

from edgemesh.model.services import Endpoint, Service, Snapshot
from edgemesh.policy.zone import Zone

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def endpoint_label(endpoint: Endpoint) -> str:
    """The label of an endpoint in its headless Service: its hostname or its dashed address."""
    hostname = endpoint.hostname.lower()
    return hostname if _LABEL.fullmatch(hostname) else dashed(endpoint.address)


def dashed(address: str) -> str:
    """``10-1-2-3`` or ``fd00--7``; a label neither begins nor ends with a dash, so 0 fills up."""
    label = address.replace(".", "-").replace(":", "-")
    front = "0" if label.startswith("-") else ""
    back = "0" if label.endswith("-") else ""
    return f"{front}{label}{back}"


class Owner(NamedTuple):
    """Who an address belongs to: a Service and, in a headless one, the endpoint's label."""

    service: Service
    label: str = ""


class NameIndex:
    """Indexes over one snapshot for one zone. Look-ups only; nothing is ever changed in it.

    Building costs time only when the first question of its kind comes, so that a snapshot that
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
    def namespaces(self) -> frozenset[str]:
        """Namespaces that hold a Service or a Pod."""
        with_services = {namespace for namespace, _ in self.snapshot.services}
        return frozenset(with_services.union(namespace for namespace, _ in self.pods))

    @cached_property
    def pods(self) -> dict[tuple[str, str], str]:
        """Addresses of the Pods known here or behind a Service, by namespace and dashed address."""
        found = {
            (pod.namespace, dashed(address)): address for address, pod in self.snapshot.pods.items()
        }
        for service in self.snapshot.services.values():
            for endpoint in _endpoints_of(service):
                if endpoint.pod:
                    namespace = endpoint.pod.partition("/")[0]
                    found[namespace, dashed(endpoint.address)] = endpoint.address
        return found

    @cached_property
    def owners(self) -> dict[str, list[Owner]]:
        """Services by ClusterIP and by endpoint of a headless Service.

        Those are left out whose names are no labels: a PTR record could not name them.
        """
        found: dict[str, list[Owner]] = {}
        for service in self.snapshot.services.values():
            if not (_LABEL.fullmatch(service.name) and _LABEL.fullmatch(service.namespace)):
                continue
            for address in service.cluster_addresses:
                found.setdefault(address, []).append(Owner(service))
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
