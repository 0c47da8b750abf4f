"""DestinationRules: which Service a rule is about, and how it balances."""

from __future__ import annotations

from typing import NamedTuple

from edgemesh.model.policies import Balance
from edgemesh.wire.kubernetes.istio import DestinationRule

_BALANCES = {"RANDOM": Balance.RANDOM}


class RuleRecord(NamedTuple):
    """What a rule says.

    Args:
        service: the Service of the rule's own namespace that ``host`` names, "" when none.
        balance: how to choose; what we do not have yet is round robin.
    """

    service: str
    balance: Balance


def record_rule(rule: DestinationRule) -> RuleRecord:
    """The record of a rule."""
    simple = rule.spec.traffic_policy.load_balancer.simple
    return RuleRecord(
        named_service(rule.spec.host, rule.metadata.namespace),
        _BALANCES.get(simple, Balance.ROUND_ROBIN),
    )


def named_service(host: str, namespace: str) -> str:
    """The Service of this namespace that a host names, "" when it names none.

    Istio lets a rule also speak about other namespaces, for calls from its own; we decide
    for all callers at once, so a rule counts only where it and the Service live.

    Args:
        host: ``web``, ``web.default``, ``web.default.svc`` or ``web.default.svc.`` and any
            domain.
        namespace: of the rule.
    """
    service, *rest = host.split(".")
    fits = rest[:2] == [namespace, "svc"][: len(rest)]
    return service if fits else ""
