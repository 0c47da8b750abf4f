"""Where each Service is served, by the best source that there is."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple

from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import ServiceName
from edgemesh.policy.endpoint_groups import (
    EndpointGroup,
    group_of_slice,
    groups_of_endpoints,
)
from edgemesh.policy.endpoints import MANAGED_BY_LABEL, MANAGER, SERVICE_NAME_LABEL
from edgemesh.wire.kubernetes.endpoints import Endpoints, EndpointSlice


class _Slice(NamedTuple):
    group: EndpointGroup
    derived: bool


class EndpointIndex:
    """Endpoint groups by Service.

    A cluster's slices go before an Endpoints object, since Kubernetes keeps those for old
    clients only, and that before the slices that edgemesh derived itself. The better source
    counts even while it is empty: it says that nobody serves.
    """

    def __init__(self) -> None:
        self._slices: dict[ServiceName, dict[str, _Slice]] = {}
        self._services: dict[ObjectKey, ServiceName] = {}
        self._endpoints: dict[ServiceName, tuple[EndpointGroup, ...]] = {}

    def put_slice(self, key: ObjectKey, view: EndpointSlice | None) -> set[ServiceName]:
        """Take a slice, or its absence.

        Returns:
            The Services that it changes: with its label a slice may move from one to another.
        """
        touched = set()
        before = self._services.pop(key, None)
        if before is not None:
            touched.add(before)
            slices = self._slices[before]
            del slices[key.name]
            if not slices:
                del self._slices[before]
        if view is not None and SERVICE_NAME_LABEL in view.metadata.labels:
            labels = view.metadata.labels
            service = (key.namespace, labels[SERVICE_NAME_LABEL])
            derived = labels.get(MANAGED_BY_LABEL) == MANAGER
            self._services[key] = service
            self._slices.setdefault(service, {})[key.name] = _Slice(group_of_slice(view), derived)
            touched.add(service)
        return touched

    def put_endpoints(self, key: ObjectKey, view: Endpoints | None) -> set[ServiceName]:
        """Take an Endpoints object, or its absence; returns the Service that it changes."""
        service = (key.namespace, key.name)
        if view is None:
            self._endpoints.pop(service, None)
        else:
            self._endpoints[service] = groups_of_endpoints(view)
        return {service}

    def groups(self, service: ServiceName) -> tuple[EndpointGroup, ...]:
        """The groups of a Service, in a stable order."""
        slices = self._slices.get(service, {})
        foreign = tuple(slices[name].group for name in sorted(slices) if not slices[name].derived)
        if foreign:
            return foreign
        if service in self._endpoints:
            return self._endpoints[service]
        return tuple(slices[name].group for name in sorted(slices))

    def served_by(self, pods: Container[str], among: Iterable[ServiceName]) -> set[ServiceName]:
        """Those of some Services that one of these Pods is an endpoint of."""
        return {
            service
            for service in among
            for group in self.groups(service)
            if any(record.pod in pods for record in group.endpoints)
        }

    def served_on(self, node: str) -> set[ServiceName]:
        """Services with an endpoint on a Node, which its zone matters to."""
        found = {
            service
            for service, slices in self._slices.items()
            for entry in slices.values()
            if _mentions(entry.group, node)
        }
        return found.union(
            service
            for service, groups in self._endpoints.items()
            for group in groups
            if _mentions(group, node)
        )


def _mentions(group: EndpointGroup, node: str) -> bool:
    return any(record.node == node for record in group.endpoints)
