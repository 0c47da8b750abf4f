"""Which DestinationRule speaks about a Service."""

from __future__ import annotations

from edgemesh.model.objects import ObjectKey
from edgemesh.model.policies import Balance
from edgemesh.model.services import ServiceName
from edgemesh.policy.destination_rules import RuleRecord, record_rule
from edgemesh.wire.kubernetes.istio import DestinationRule


class RuleIndex:
    """Rules by their own name, and by the Service that their host names.

    The name goes first: EdgeMesh's own examples have rules that are named as the Service and
    whose ``host`` is something else.
    """

    def __init__(self) -> None:
        self._by_name: dict[ServiceName, RuleRecord] = {}
        self._by_host: dict[ServiceName, set[str]] = {}

    def put(self, key: ObjectKey, view: DestinationRule | None) -> set[ServiceName]:
        """Take a rule, or its absence.

        Returns:
            The Services that it may change.
        """
        name = (key.namespace, key.name)
        touched = {name}
        before = self._by_name.pop(name, None)
        if before is not None:
            host = (key.namespace, before.service)
            touched.add(host)
            self._by_host[host].discard(key.name)
            if not self._by_host[host]:
                del self._by_host[host]
        if view is not None:
            record = record_rule(view)
            host = (key.namespace, record.service)
            self._by_name[name] = record
            self._by_host.setdefault(host, set()).add(key.name)
            touched.add(host)
        return touched

    def balance(self, service: ServiceName) -> Balance:
        """How the endpoints of a Service are chosen."""
        if service in self._by_name:
            return self._by_name[service].balance
        rules = self._by_host.get(service)
        if not rules:
            return Balance.ROUND_ROBIN
        return self._by_name[service[0], min(rules)].balance
