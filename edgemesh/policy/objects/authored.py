"""Everything that policy objects say about one Service, laid on each other.

Order: the agent's defaults < Service < DestinationRule < TrafficPolicy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgemesh.model.policies import NO_SUBSETS, Policy, Subset
from edgemesh.model.services import Endpoint, ServicePort
from edgemesh.policy.objects.destination_rules import subsets_of, with_rule
from edgemesh.policy.objects.traffic_policies import in_force, with_traffic_policy
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule, RuleSubset
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

LabelsOf = Callable[[str], Mapping[str, str]]


class Authored(NamedTuple):
    """What people wrote about one Service.

    Args:
        rule: the DestinationRule that counts.
        policies: all TrafficPolicies that name it.
    """

    rule: DestinationRule | None = None
    policies: tuple[TrafficPolicy, ...] = ()


NOTHING_AUTHORED = Authored()


def policy_for(port: ServicePort, said: Authored, subset: RuleSubset | None = None) -> Policy:
    """The policy of a port, or of one subset of its endpoints.

    Args:
        port: with the policy that the Service itself asks for.
        said: about its Service.
        subset: of the rule; None for all endpoints.
    """
    policy = port.policy
    if said.rule is not None:
        policy = with_rule(policy, said.rule, port.port, subset)
    for each in in_force(said.policies, port):
        policy = with_traffic_policy(policy, each.spec)
    return policy


def subsets_for(
    port: ServicePort, endpoints: tuple[Endpoint, ...], said: Authored, labels_of: LabelsOf
) -> Mapping[str, Subset]:
    """The subsets of a port by name; those without an endpoint, too.

    Args:
        port: as above.
        endpoints: all of it.
        said: about its Service.
        labels_of: the labels of a Pod, by ``namespace/name``.
    """
    if said.rule is None or not said.rule.spec.subsets:
        return NO_SUBSETS
    return {
        name: Subset(name, _addresses(subset, endpoints, labels_of), policy_for(port, said, subset))
        for name, subset in subsets_of(said.rule).items()
    }


def _addresses(
    subset: RuleSubset, endpoints: tuple[Endpoint, ...], labels_of: LabelsOf
) -> frozenset[tuple[str, int]]:
    return frozenset(
        (endpoint.address, endpoint.port)
        for endpoint in endpoints
        if subset.labels.items() <= labels_of(endpoint.pod).items()
    )
