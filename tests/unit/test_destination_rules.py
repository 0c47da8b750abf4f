"""A DestinationRule is about the Service that its host names."""

from __future__ import annotations

import pytest
from kube_bodies import destination_rule

from edgemesh.model.policies import Balance
from edgemesh.policy.destination_rules import RuleRecord, named_service, record_rule
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.istio import DestinationRule


@pytest.mark.parametrize(
    "host", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"]
)
def test_a_host_names_a_service_short_or_in_full(host: str) -> None:
    assert named_service(host, "default") == "web"


@pytest.mark.parametrize("host", ["web.other", "web.default.pod", "web.example.org", ""])
def test_another_host_names_none(host: str) -> None:
    assert named_service(host, "default") == ""


@pytest.mark.parametrize(
    ("simple", "balance"),
    [
        ("RANDOM", Balance.RANDOM),
        ("ROUND_ROBIN", Balance.ROUND_ROBIN),
        ("LEAST_REQUEST", Balance.ROUND_ROBIN),
    ],
)
def test_a_rule_balances_as_it_says_or_round_robin(simple: str, balance: Balance) -> None:
    view = decode_as(DestinationRule, destination_rule("r", "web", simple))
    assert record_rule(view) == RuleRecord("web", balance)
