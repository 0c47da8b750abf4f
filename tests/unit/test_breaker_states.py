"""What the agent tells about breakers is what the data plane goes by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgemesh.app.breakers import breakers
from edgemesh.app.metrics import endpoint_families
from edgemesh.model.policies import Breaker, HealthCheck, Policy, Subset
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.status import BreakerStatus, ServicesQuestion
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic

ENDPOINTS = (Endpoint("10.1.0.1", 8080, pod="default/web-1"), Endpoint("10.1.0.2", 8080))
POLICY = Policy(breaker=Breaker(consecutive_errors=3, base_ejection_seconds=30))
PORT = ServicePort("default", "web", "", Transport.TCP, 80, policy=POLICY, endpoints=ENDPOINTS)
EVERYTHING = ServicesQuestion()


def new_traffic(*ports: ServicePort) -> tuple[Snapshot, Traffic]:
    snapshot = Snapshot(ports={port.key: port for port in ports})
    traffic = Traffic(lambda: 0.5)
    traffic.swap(snapshot, 0.0)
    return snapshot, traffic


def told(
    snapshot: Snapshot, traffic: Traffic, now: float = 0.0, question: ServicesQuestion = EVERYTHING
) -> list[BreakerStatus]:
    return [one for port in breakers(snapshot, traffic, now, question) for one in port]


def call(traffic: Traffic, outcome: Outcome, times: int, now: float) -> EndpointState:
    """Call the first endpoint so many times."""
    upstream = traffic.upstream(PORT)
    assert upstream is not None
    state = upstream.states()[0]
    for _ in range(times):
        upstream.begin(state)
        upstream.end(state, outcome, 0.1, now)
    return state


def gauges(traffic: Traffic, most: int = 100) -> dict[tuple[str, str], float]:
    """Values by name and endpoint."""
    text = "".join(piece for one in endpoint_families(traffic, most) for piece in one.text())
    return {
        (sample.name, sample.labels["endpoint"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_endpoints_that_were_never_called_are_closed() -> None:
    first, second = told(*new_traffic(PORT))
    assert (first.endpoint, first.pod, first.state) == ("10.1.0.1:8080", "default/web-1", "closed")
    assert (second.endpoint, second.pod, second.calls) == ("10.1.0.2:8080", "", 0)


def test_failures_in_a_row_open_a_breaker_for_a_time() -> None:
    snapshot, traffic = new_traffic(PORT)
    call(traffic, Outcome.SUCCESS, 7, 100.0)
    call(traffic, Outcome.RESET, 3, 100.0)
    first, second = told(snapshot, traffic, 110.0)
    assert (first.state, first.reason, first.ejections) == ("open", "consecutive-errors", 1)
    assert (first.failures_in_row, first.calls, first.failures) == (3, 10, 3)
    assert first.open_seconds == 20.0
    assert second.state == "closed"


def test_an_endpoint_that_health_checks_find_ill_is_unhealthy_whatever_its_breaker_says() -> None:
    snapshot, traffic = new_traffic(PORT)
    call(traffic, Outcome.SUCCESS, 1, 0.0).probed_healthy = False
    assert [one.state for one in told(snapshot, traffic)] == ["unhealthy", "closed"]


@pytest.mark.parametrize(
    ("policy", "subsets", "number"),
    [
        (Policy(), {}, 0),
        (Policy(breaker=Breaker()), {}, 2),
        (Policy(health_check=HealthCheck()), {}, 2),
        (Policy(), {"v1": Subset("v1", frozenset(), POLICY)}, 2),
    ],
    ids=["neither", "breaker", "health-check", "subset"],
)
def test_ports_are_told_that_have_a_breaker_or_a_health_check(
    policy: Policy, subsets: dict[str, Subset], number: int
) -> None:
    port = replace(PORT, policy=policy, subsets=subsets)
    assert len(told(*new_traffic(port))) == number


def test_only_the_services_in_question_are_told() -> None:
    snapshot, traffic = new_traffic(PORT, replace(PORT, service="shop"))
    question = ServicesQuestion("default", ("shop",))
    assert {one.service for one in told(snapshot, traffic, 0.0, question)} == {"shop"}


def test_metrics_tell_what_is_open_and_the_breaker() -> None:
    _, traffic = new_traffic(PORT)
    state = call(traffic, Outcome.RESET, 3, 0.0)
    upstream = traffic.upstream(PORT)
    assert upstream is not None
    upstream.begin(upstream.states()[1])
    state.connections = 4
    assert gauges(traffic) == {
        ("edgemesh_endpoint_active", "10.1.0.1:8080"): 0,
        ("edgemesh_endpoint_active", "10.1.0.2:8080"): 1,
        ("edgemesh_endpoint_connections", "10.1.0.1:8080"): 4,
        ("edgemesh_endpoint_connections", "10.1.0.2:8080"): 0,
        ("edgemesh_endpoint_breaker", "10.1.0.1:8080"): 2,
        ("edgemesh_endpoint_breaker", "10.1.0.2:8080"): 0,
    }


def test_metrics_tell_of_an_endpoint_once_and_of_no_more_than_the_limit() -> None:
    endpoints = frozenset({("10.1.0.1", 8080), ("10.1.0.2", 8080)})
    port = replace(PORT, subsets={"all": Subset("all", endpoints, POLICY)})
    _, traffic = new_traffic(port)
    for subset in ("", "all"):
        upstream = traffic.upstream(port, subset)
        assert upstream is not None
        for state in upstream.states():
            upstream.begin(state)
    assert gauges(traffic)["edgemesh_endpoint_active", "10.1.0.1:8080"] == 2
    assert {endpoint for _, endpoint in gauges(traffic, most=1)} == {"10.1.0.1:8080"}


def test_metrics_tell_nothing_of_endpoints_that_were_never_called() -> None:
    _, traffic = new_traffic(PORT)
    traffic.upstream(PORT)
    assert gauges(traffic) == {}
