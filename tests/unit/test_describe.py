"""A policy is told in few words."""

from __future__ import annotations

import pytest

from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    EndpointRemoval,
    HashKey,
    HashSource,
    HealthCheck,
    Limits,
    Locality,
    Path,
    Policy,
    Quota,
    QuotaScope,
    Retries,
    ServerLimits,
    Subset,
    Timeouts,
)
from edgemesh.model.routes import ConnectionRoute, Route
from edgemesh.model.services import ServicePort, Transport
from edgemesh.policy.describe import describe_policy


def described(policy: Policy) -> str:
    return describe_policy(ServicePort("default", "web", "", Transport.TCP, 80, policy=policy))


@pytest.mark.parametrize(
    ("balancing", "words"),
    [
        (Balancing(), "round_robin"),
        (Balancing(locality=Locality.PREFER_ZONE), "round_robin prefer_zone"),
        (Balancing(affinity_seconds=60), "round_robin affinity 60 s"),
        (
            Balancing(Balance.RING_HASH, HashKey(HashSource.HEADER, "user")),
            "ring_hash by header user",
        ),
        (
            Balancing(Balance.MAGLEV, HashKey(HashSource.SOURCE_ADDRESS)),
            "maglev by source_address",
        ),
    ],
)
def test_how_endpoints_are_chosen_comes_first(balancing: Balancing, words: str) -> None:
    assert described(Policy(balancing=balancing)) == words


def test_the_rest_is_told_where_it_is_not_the_default() -> None:
    policy = Policy(
        path=Path.HTTP,
        client_quota=Quota(2.5, 3),
        server=ServerLimits(Quota(100, 20, QuotaScope.SOURCE), max_concurrent=4),
        breaker=Breaker(5),
        limits=Limits(max_connections=10, max_requests=20),
        retries=Retries(2),
        timeouts=Timeouts(request=15.0),
        health_check=HealthCheck(),
        on_endpoint_removed=EndpointRemoval.CLOSE,
    )
    assert described(policy) == (
        "round_robin, asks for path http, client 2.5/s burst 3, server 100/s burst 20 per source "
        "and 4 at a time, breaker after 5 errors, 10 connections, 20 requests, 2 retries, "
        "deadline 15 s, tcp health checks, connections to removed endpoints are closed"
    )


def test_routes_and_subsets_come_last() -> None:
    subsets = {name: Subset(name, frozenset(), Policy()) for name in ("v1", "v2")}
    port = ServicePort(
        "default",
        "web",
        "",
        Transport.TCP,
        80,
        subsets=subsets,
        routes=(Route("a"), Route("b")),
        connection_routes=(ConnectionRoute("c", ()),),
    )
    assert describe_policy(port) == (
        "round_robin, 2 routes, 1 routes of connections, subsets v1 v2"
    )
