"""The Services of the snapshot, and their ports by where they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgemesh.meta.claims import Claims
from edgemesh.model.services import (
    PortKey,
    Service,
    ServiceName,
    ServicePort,
    Source,
    Transport,
)
from edgemesh.policy.inbound import inbound_ports


class ServiceIndex:
    """Services by name, their ports by address, by node port and by endpoints of this node.

    Args:
        node: this node's name.
        inbound_source: which client address endpoints see of calls that reach them directly.

    Attributes:
        addresses: ports by (address, port), for each transport.
        node_ports: ports by node port, for each transport.
        inbound: inbound ports by their endpoint's (address, port), for each transport. Of several
            that share an endpoint the last one holds, by namespace, name and port, as elsewhere.
    """

    def __init__(self, node: str, inbound_source: Source) -> None:
        self._node = node
        self._inbound_source = inbound_source
        self._services: dict[ServiceName, Service] = {}
        self._ports: dict[PortKey, ServicePort] = {}
        self._copy: Mapping[ServiceName, Service] | None = None
        self._ports_copy: Mapping[PortKey, ServicePort] | None = None
        self._intercepted: set[ServiceName] = set()
        self._inbound: dict[ServiceName, Mapping[PortKey, ServicePort]] = {}
        self.addresses: Mapping[Transport, Claims[tuple[str, int], ServicePort]] = {
            transport: Claims(owner=_owner, rank=_owner) for transport in Transport
        }
        self.node_ports: Mapping[Transport, Claims[int, ServicePort]] = {
            transport: Claims(owner=_owner, rank=_owner) for transport in Transport
        }
        self.inbound: Mapping[Transport, Claims[tuple[str, int], ServicePort]] = {
            transport: Claims(owner=_key, rank=_key) for transport in Transport
        }

    def put(self, service: Service, *, intercepted: bool) -> None:
        """Add a Service, or replace the one of its name.

        Args:
            service: complete.
            intercepted: whether calls to its addresses are ours.
        """
        name = (service.namespace, service.name)
        self.remove(name)
        self._services[name] = service
        self._ports |= {port.key: port for port in service.ports}
        if intercepted:
            self._intercepted.add(name)
            for (claims, key), port in self._claims_of(service).items():
                claims.claim(key, port)
            self._put_inbound(name, service)

    def remove(self, name: ServiceName) -> None:
        """Remove a Service; nothing happens when there is none."""
        self._copy = self._ports_copy = None
        service = self._services.pop(name, None)
        for port in service.ports if service else ():
            del self._ports[port.key]
        if service is not None and name in self._intercepted:
            self._intercepted.remove(name)
            for claims, key in self._claims_of(service):
                claims.release(key, name)
            self._remove_inbound(name)

    def services(self) -> Mapping[ServiceName, Service]:
        """All of them by name; the same mapping as long as nothing changes."""
        if self._copy is None:
            self._copy = self._services.copy()
        return self._copy

    def ports(self) -> Mapping[PortKey, ServicePort]:
        """All their ports by key; the same mapping as long as nothing changes."""
        if self._ports_copy is None:
            self._ports_copy = self._ports.copy()
        return self._ports_copy

    def _put_inbound(self, name: ServiceName, service: Service) -> None:
        found = inbound_ports(service, self._node, self._inbound_source)
        ports = {port.key: port for port in found}
        if not ports:
            return
        self._inbound[name] = ports
        self._ports |= ports
        for port in ports.values():
            self.inbound[port.transport].claim(_place(port), port)

    def _remove_inbound(self, name: ServiceName) -> None:
        for key, port in self._inbound.pop(name, {}).items():
            del self._ports[key]
            self.inbound[port.transport].release(_place(port), key)

    def _claims_of(
        self, service: Service
    ) -> dict[tuple[Claims[Any, ServicePort], Any], ServicePort]:
        """Where a Service is called, each place once, with its port."""
        found: dict[tuple[Claims[Any, ServicePort], Any], ServicePort] = {}
        for port in service.ports:
            for address in service.addresses:
                found[self.addresses[port.transport], (address, port.port)] = port
            if port.node_port:
                found[self.node_ports[port.transport], port.node_port] = port
        return found


def _owner(port: ServicePort) -> ServiceName:
    return (port.namespace, port.service)


def _key(port: ServicePort) -> PortKey:
    return port.key


def _place(port: ServicePort) -> tuple[str, int]:
    (endpoint,) = port.endpoints
    return (endpoint.address, endpoint.port)
