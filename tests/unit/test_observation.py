"""Which ports have their requests counted while the kernel moves them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.paths import ALL_PATHS, AvailablePaths
from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    HashKey,
    HashSource,
    Limits,
    Observe,
    Path,
    Policy,
    Quota,
    QuotaScope,
    Retries,
    ServerLimits,
    Subset,
    Timeouts,
)
from edgemesh.model.routes import Backend, ConnectionRoute, Route
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.policy.observation import asks_to_observe, observation_hindrance
from edgemesh.policy.paths import choose_path, forwarding_path, hello_matters
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import Verdict, decide, preview

OBSERVED = Policy(path=Path.SPLICE, observe=Observe.HTTP, client_quota=Quota(100.0, 10))
BACKEND = Backend("default", "web", 80)


def port(policy: Policy = OBSERVED, protocol: str = "http", **more: object) -> ServicePort:
    made = ServicePort("default", "web", "", Transport.TCP, 80, application_protocol=protocol)
    return replace(made, policy=policy, **more)  # type: ignore[arg-type]


def test_requests_are_counted_on_the_way_where_that_is_asked_for() -> None:
    assert forwarding_path(port(), "http", ALL_PATHS) is Path.SPLICE
    assert choose_path(port(), "http", ALL_PATHS) == (Path.SPLICE, "its policy asks for it")


@pytest.mark.parametrize("path", [Path.AUTO, Path.CONNECT, Path.RELAY, Path.HTTP])
def test_it_is_for_path_splice(path: Path) -> None:
    assert not asks_to_observe(port(replace(OBSERVED, path=path)))


def test_it_is_off_unless_asked_for() -> None:
    assert not asks_to_observe(port(Policy(path=Path.SPLICE)))
    assert forwarding_path(port(Policy(path=Path.SPLICE)), "http", ALL_PATHS) is Path.RELAY


def test_it_is_for_tcp() -> None:
    assert not asks_to_observe(port(transport=Transport.UDP))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server": ServerLimits(max_concurrent=3)}, "what goes to the endpoints is limited"),
        ({"server": ServerLimits(Quota(5.0, 5))}, "what goes to the endpoints is limited"),
        ({"client_quota": Quota(5.0, 5, QuotaScope.SOURCE)}, "the quota is by source"),
        ({"breaker": Breaker()}, "the breaker needs every answer"),
        ({"retries": Retries()}, "requests are repeated"),
        ({"timeouts": Timeouts(request=1.0)}, "requests have a deadline"),
        ({"limits": Limits(max_requests=3)}, "open requests are limited"),
        (
            {"balancing": Balancing(Balance.MAGLEV, HashKey(HashSource.HEADER, "user"))},
            "requests are balanced by what they say",
        ),
    ],
)
def test_a_policy_that_needs_each_request_is_honoured_by_the_agent(
    changes: dict[str, object], said: str
) -> None:
    asking = port(replace(OBSERVED, **changes))  # type: ignore[arg-type]
    assert forwarding_path(asking, "http", ALL_PATHS) is Path.HTTP
    assert choose_path(asking, "http", ALL_PATHS) == (Path.HTTP, f"splice: {said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"routes": (Route("r"),)}, "requests are routed"),
        ({"connection_routes": (ConnectionRoute("r", (BACKEND,)),)}, "connections are routed"),
        ({"subsets": {"v1": Subset("v1", frozenset(), OBSERVED)}}, "it has subsets"),
    ],
)
def test_routes_and_subsets_are_the_agent_s(changes: dict[str, object], said: str) -> None:
    changed = replace(port(), **changes)  # type: ignore[arg-type]
    assert observation_hindrance(changed, "http", ALL_PATHS) == said


@pytest.mark.parametrize(
    "available", [AvailablePaths("", "no bcc", ""), ALL_PATHS._replace(observed="no bcc")]
)
def test_where_the_kernel_cannot_the_agent_sees_requests(available: AvailablePaths) -> None:
    assert forwarding_path(port(), "http", available) is Path.HTTP
    assert choose_path(port(), "http", available) == (Path.HTTP, "splice: no bcc")


def test_http_2_is_seen_by_the_agent() -> None:
    asking = port(protocol="http2")
    assert choose_path(asking, "http2", ALL_PATHS) == (Path.HTTP, "splice: it speaks http2")


def test_what_declares_no_protocol_is_looked_at_first() -> None:
    asking = port(protocol="")
    assert hello_matters(asking)
    assert choose_path(asking, "", ALL_PATHS).path is Path.SPLICE
    assert forwarding_path(asking, "", ALL_PATHS) is Path.RELAY


def test_what_is_no_http_is_spliced_as_ever() -> None:
    assert forwarding_path(port(protocol="tls"), "tls", ALL_PATHS) is Path.RELAY
    assert choose_path(port(protocol="tls"), "tls", ALL_PATHS).path is Path.SPLICE


CALLED = ("10.96.0.1", 80)
FACTS = FlowFacts(Transport.TCP, ("10.244.0.9", 40000), CALLED, "http")
NONE_LEFT = Quota(0.001, 1)


def verdicts(available: AvailablePaths) -> list[Verdict]:
    """Of three connections to a port whose quota is one."""
    asking = port(replace(OBSERVED, client_quota=NONE_LEFT), endpoints=(Endpoint("10.0.0.1", 80),))
    snapshot = Snapshot(tcp={CALLED: asking}, ports={asking.key: asking})
    traffic = Traffic(Random(0).random)
    traffic.swap(snapshot, 0.0)
    foreseen = preview(
        snapshot, FACTS, traffic, 0.0, listener_port=1, attempts=1, available=available
    )
    decided = [
        decide(snapshot, FACTS, traffic, 0.0, listener_port=1, available=available)
        for _ in range(2)
    ]
    return [foreseen, *decided]


def test_connections_take_no_tokens_where_their_requests_do() -> None:
    assert [verdict.path for verdict in verdicts(ALL_PATHS)] == [Path.SPLICE] * 3


def test_connections_take_tokens_where_requests_are_not_counted() -> None:
    foreseen, first, second = verdicts(ALL_PATHS._replace(observed="no bcc"))
    assert (foreseen.path, first.path) == (Path.HTTP, Path.RELAY)
    assert second.refusal is Refusal.QUOTA
