"""Services that Rules lead to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from edgemesh.model.objects import ObjectKey
from edgemesh.model.router import RouterRule, RuleEndpointType
from edgemesh.model.services import ServiceName
from edgemesh.policy.router.rules import router_endpoint, router_rule
from edgemesh.wire.kubernetes.router_objects import Rule, RuleEndpoint


class RuleIndex:
    """Rules and RuleEndpoints by name, of which there are few.

    Each ``put`` takes an object, or its absence, and returns the Services that it changes.

    Attributes:
        ruled: Services that a Rule leads to, with the numbers of the ports that are meant; none
            for all of them.
    """

    def __init__(self) -> None:
        self._endpoints: dict[ObjectKey, RuleEndpoint] = {}
        self._rules: dict[ObjectKey, Rule] = {}
        self.ruled: Mapping[ServiceName, frozenset[int]] = {}

    def put_endpoint(self, key: ObjectKey, view: RuleEndpoint | None) -> set[ServiceName]:
        """See the class."""
        self._endpoints.pop(key, None)
        if view is not None:
            self._endpoints[key] = view
        return self._build()

    def put_rule(self, key: ObjectKey, view: Rule | None) -> set[ServiceName]:
        """See the class."""
        self._rules.pop(key, None)
        if view is not None:
            self._rules[key] = view
        return self._build()

    def _build(self) -> set[ServiceName]:
        endpoints = {
            (key.namespace, key.name): router_endpoint(view)
            for key, view in self._endpoints.items()
        }
        meant: dict[ServiceName, list[int]] = defaultdict(list)
        for view in self._rules.values():
            rule = router_rule(view, endpoints)
            if not isinstance(rule, RouterRule) or not rule.in_use:
                continue
            target = rule.target
            if target.type is RuleEndpointType.SERVICE:
                namespace = target.properties.get("namespace") or target.namespace
                name = (namespace, target.properties["service"])
                meant[name].append(int(target.properties.get("port") or 0))
        before = self.ruled
        # 0 is for every port, whatever else is named.
        self.ruled = {
            name: frozenset() if 0 in ports else frozenset(ports) for name, ports in meant.items()
        }
        names = before.keys() | self.ruled.keys()
        return {name for name in names if before.get(name) != self.ruled.get(name)}
