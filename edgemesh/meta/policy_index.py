"""What policy objects say about each Service."""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.meta.target_index import TargetIndex
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import ServiceName
from edgemesh.policy.objects import destination_rules, traffic_policies
from edgemesh.policy.objects.authored import NOTHING_AUTHORED, Authored
from edgemesh.policy.objects.destination_rules import rule_for
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

_Touched = frozenset[ServiceName]


class PolicyIndex:
    """Policy objects by the Services that they are about.

    Each ``put`` takes an object, or its absence, and returns the Services that it may change.
    """

    def __init__(self) -> None:
        self._rules: TargetIndex[DestinationRule] = TargetIndex()
        self._policies: TargetIndex[TrafficPolicy] = TargetIndex()

    def put_rule(self, key: ObjectKey, view: DestinationRule | None) -> _Touched:
        """See the class."""
        services = destination_rules.services_of(view) if view else ()
        return self._rules.put(key, view, services)

    def put_policy(self, key: ObjectKey, view: TrafficPolicy | None) -> _Touched:
        """See the class."""
        services = traffic_policies.services_of(view) if view else ()
        return self._policies.put(key, view, services)

    def about(self, service: ServiceName) -> Authored:
        """What is said about a Service."""
        rules = self._rules.about(service)
        policies = self._policies.about(service)
        if not rules and not policies:
            return NOTHING_AUTHORED
        return Authored(rule_for(service[1], rules), policies)

    def subsetted(self) -> Iterable[ServiceName]:
        """Services that may have subsets."""
        return self._rules.services()
