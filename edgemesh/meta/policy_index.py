"""What policy objects say about each Service."""

from __future__ import annotations

from collections.abc import Container, Iterable

from edgemesh.meta.target_index import TargetIndex
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import ServiceName
from edgemesh.policy.objects import (
    destination_rules,
    gateway_connections,
    gateway_requests,
    traffic_policies,
    virtual_services,
)
from edgemesh.policy.objects.authored import NOTHING_AUTHORED, Authored
from edgemesh.policy.objects.destination_rules import rule_for, subsets_of
from edgemesh.policy.objects.reference_grants import is_granted
from edgemesh.wire.kubernetes.gateway_api.connection_routes import TCPRoute, TLSRoute
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute
from edgemesh.wire.kubernetes.gateway_api.http_route import HTTPRoute
from edgemesh.wire.kubernetes.gateway_api.reference_grant import ReferenceGrant
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule
from edgemesh.wire.kubernetes.istio.virtual_service import VirtualService
from edgemesh.wire.kubernetes.tolerant import PolicyObject
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

_Services = frozenset[ServiceName]


class PolicyIndex:
    """Policy objects by the Services that they are about.

    Each ``put`` takes an object, or its absence, and returns the Services that it may change.
    """

    def __init__(self) -> None:
        self._rules: TargetIndex[DestinationRule] = TargetIndex()
        self._policies: TargetIndex[TrafficPolicy] = TargetIndex()
        self._gateway_requests: TargetIndex[HTTPRoute | GRPCRoute] = TargetIndex()
        self._virtual_services: TargetIndex[VirtualService] = TargetIndex()
        self._gateway_connections: TargetIndex[TLSRoute | TCPRoute] = TargetIndex()
        self._grants: dict[str, dict[ObjectKey, ReferenceGrant]] = {}
        # By the Services that routes lead to: those that they are tried for.
        self._callers: TargetIndex[_Services] = TargetIndex()

    def put_rule(self, key: ObjectKey, view: DestinationRule | None) -> _Services:
        """See the class."""
        touched = self._rules.put(key, view, destination_rules.services_of(view) if view else ())
        return touched.union(*map(self.leading_to, touched))

    def put_policy(self, key: ObjectKey, view: TrafficPolicy | None) -> _Services:
        """See the class."""
        return self._policies.put(key, view, traffic_policies.services_of(view) if view else ())

    def put_gateway_requests(self, key: ObjectKey, view: HTTPRoute | GRPCRoute | None) -> _Services:
        """See the class."""
        services = gateway_requests.services_of(view) if view else frozenset()
        self._callers.put(key, services, gateway_requests.backends_of(view) if view else ())
        return self._gateway_requests.put(key, view, services)

    def put_virtual_service(self, key: ObjectKey, view: VirtualService | None) -> _Services:
        """See the class."""
        services = virtual_services.services_of(view) if view else frozenset()
        self._callers.put(key, services, virtual_services.backends_of(view) if view else ())
        return self._virtual_services.put(key, view, services)

    def put_gateway_connections(
        self, key: ObjectKey, view: TLSRoute | TCPRoute | None
    ) -> _Services:
        """See the class."""
        services = gateway_connections.services_of(view) if view else frozenset()
        self._callers.put(key, services, gateway_connections.backends_of(view) if view else ())
        return self._gateway_connections.put(key, view, services)

    def put_grant(self, key: ObjectKey, view: ReferenceGrant | None) -> _Services:
        """See the class."""
        grants = self._grants.setdefault(key.namespace, {})
        grants.pop(key, None)
        if view is not None:
            grants[key] = view
        if not grants:
            del self._grants[key.namespace]
        here = [name for name in self._callers.services() if name[0] == key.namespace]
        return frozenset().union(*map(self.leading_to, here))

    def granted(self, kind: str, namespace: str, service: ServiceName) -> bool:
        """Whether a route of this kind and namespace may lead to a Service of another one."""
        grants = self._grants.get(service[0], {})
        return is_granted(grants.values(), kind, namespace, service)

    def about(self, service: ServiceName) -> Authored:
        """What is said about a Service."""
        said = Authored(
            rule_for(service[1], self._rules.about(service)),
            self._policies.about(service),
            self._gateway_requests.about(service),
            self._virtual_services.about(service),
            self._gateway_connections.about(service),
        )
        return said if any(said) else NOTHING_AUTHORED

    def find(self, key: ObjectKey) -> tuple[PolicyObject, _Services] | None:
        """An object and the Services that it is about, None when there is no such object."""
        return (
            self._rules.find(key)
            or self._policies.find(key)
            or self._gateway_requests.find(key)
            or self._virtual_services.find(key)
            or self._gateway_connections.find(key)
        )

    def leading_to(self, service: ServiceName) -> _Services:
        """Services with routes that lead to this one."""
        return frozenset().union(*self._callers.about(service))

    def subsets(self, service: ServiceName) -> Container[str]:
        """Names of the subsets of a Service."""
        rule = rule_for(service[1], self._rules.about(service))
        return subsets_of(rule) if rule else ()

    def has_subsets(self) -> bool:
        """Whether any Service has subsets: then labels of Pods matter."""
        return any(bool(self.subsets(name)) for name in self._rules.services())

    def subsetted(self) -> Iterable[ServiceName]:
        """Services that may have subsets."""
        return self._rules.services()
