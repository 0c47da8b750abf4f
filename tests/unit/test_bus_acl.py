"""What streams of other ends are let in to, and how refused ones are told why."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.flows import Ending
from edgemesh.model.flows import Refusal as FlowRefusal
from edgemesh.model.policies import Path, Policy, Quota, ServerLimits
from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot, Source, Transport
from edgemesh.model.streams import Refusal
from edgemesh.policy.bus.acl import Admitted, admit
from edgemesh.policy.bus.refused import AT_A_LIMIT, problem_of
from edgemesh.wire.host_port import joined

HERE = Endpoint("10.244.1.2", 8080, node="node-b", weight=7)
HERE_BY_IPV6 = Endpoint("fd00::2", 8080, node="node-b")
ELSEWHERE = Endpoint("10.244.2.2", 8080, node="node-c")
NOWHERE = Endpoint("10.244.3.2", 8080)
ENDPOINTS = (HERE, HERE_BY_IPV6, ELSEWHERE, NOWHERE)
WEB = ServicePort(
    "default",
    "web",
    "http",
    Transport.TCP,
    80,
    application_protocol="http",
    source=Source.PRESERVE,
    endpoints=ENDPOINTS,
)


def snapshot_of(*ports: ServicePort, node: str = "node-b", **more: object) -> Snapshot:
    return Snapshot(node=node, ports={each.key: each for each in ports}, **more)  # type: ignore[arg-type]


def refusal_of(
    snapshot: Snapshot, place: str, key: PortKey = WEB.key, *, chooses: bool = False
) -> Refusal:
    refusal = admit(snapshot, key, place, chooses=chooses)
    assert isinstance(refusal, Refusal)
    return refusal


def entered(port: ServicePort, place: str = "10.244.1.2:8080") -> ServicePort:
    admitted = admit(snapshot_of(port), port.key, place, chooses=False)
    assert isinstance(admitted, Admitted)
    assert admitted.port is port
    return admitted.entered


@pytest.mark.parametrize("place", ["10.244.1.2:8080", "[fd00::2]:8080"])
def test_a_stream_enters_to_an_endpoint_that_runs_here_and_to_no_other(place: str) -> None:
    port = entered(WEB, place)
    assert [joined(each.address, each.port) for each in port.endpoints] == [place]
    assert (port.inbound, port.by_stream, port.endpoints[0].weight) == (True, True, 1)


def test_the_endpoint_sees_this_node_whatever_the_service_says() -> None:
    assert entered(WEB).source is Source.NODE


def test_without_limits_the_bytes_are_all_that_matters() -> None:
    assert entered(WEB).policy.path is Path.RELAY


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (Path.AUTO, Path.AUTO),
        (Path.SPLICE, Path.AUTO),
        (Path.RELAY, Path.RELAY),
        (Path.HTTP, Path.HTTP),
    ],
)
def test_limits_are_honoured_by_the_path_that_was_asked_for_but_the_kernels(
    asked: Path, path: Path
) -> None:
    limits = ServerLimits(quota=Quota(1, 1))
    port = entered(replace(WEB, policy=Policy(server=limits, path=asked)))
    assert (port.policy.path, port.policy.server) == (path, limits)


def test_calls_by_streams_count_among_those_of_the_port_and_have_a_key_of_their_own() -> None:
    port = entered(WEB)
    assert port.limits_key == WEB.key
    assert port.key not in {WEB.key, replace(port, by_stream=False).key}


@pytest.mark.parametrize(
    ("place", "key", "problem", "reason"),
    [
        ("10.244.2.2:8080", WEB.key, errno.EACCES, "does not run here"),
        ("10.244.3.2:8080", WEB.key, errno.EACCES, "does not run here"),
        ("10.244.1.2:9090", WEB.key, errno.ECONNREFUSED, "is no endpoint of default/web:80/TCP"),
        ("169.254.169.254:80", WEB.key, errno.ECONNREFUSED, "is no endpoint"),
        ("", WEB.key, errno.EACCES, "no endpoint was named"),
        ("10.244.1.2:8080", ("default", "web", "UDP", 80), errno.ECONNREFUSED, "not known"),
        ("10.244.1.2:8080", ("default", "other", "TCP", 80), errno.ECONNREFUSED, "not known"),
    ],
)
def test_whatever_else_is_wanted_is_refused_by_name(
    place: str, key: PortKey, problem: int, reason: str
) -> None:
    refusal = refusal_of(snapshot_of(WEB), place, key)
    assert refusal.problem == problem
    assert reason in refusal.reason


def test_a_node_that_does_not_know_its_name_lets_nothing_in() -> None:
    assert refusal_of(snapshot_of(WEB, node=""), "10.244.3.2:8080").problem == errno.EACCES


def test_a_view_of_a_port_is_no_way_in() -> None:
    view = entered(WEB)
    assert refusal_of(snapshot_of(WEB, view), "10.244.1.2:8080", view.key).reason


@pytest.mark.parametrize("ports", [frozenset(), frozenset({80, 443})])
def test_the_end_that_chooses_lets_streams_in_where_a_rule_leads(ports: frozenset[int]) -> None:
    snapshot = snapshot_of(WEB, node="cloud", ruled={("default", "web"): ports})
    assert admit(snapshot, WEB.key, "", chooses=True) == Admitted(WEB, WEB)


@pytest.mark.parametrize(
    "ruled", [{}, {("default", "web"): frozenset({443})}, {("other", "web"): frozenset()}]
)
def test_the_end_that_chooses_lets_no_stream_in_without_a_rule(
    ruled: dict[tuple[str, str], frozenset[int]],
) -> None:
    refusal = refusal_of(snapshot_of(WEB, node="cloud", ruled=ruled), "", chooses=True)
    assert refusal == Refusal(errno.EACCES, "default/web:80/TCP: no Rule leads there")


places = st.sampled_from([*(joined(each.address, each.port) for each in ENDPOINTS), "", "x"])


@given(
    place=places,
    node=st.sampled_from(["", "node-b", "node-c", "cloud"]),
    chooses=st.booleans(),
    ruled=st.sampled_from([{}, {("default", "web"): frozenset[int]()}]),
    known=st.lists(st.sampled_from([WEB, replace(WEB, port=81), replace(WEB, endpoints=())])),
)
def test_nothing_enters_but_to_endpoints_that_run_here_or_where_a_rule_leads(
    *,
    place: str,
    node: str,
    chooses: bool,
    ruled: dict[tuple[str, str], frozenset[int]],
    known: list[ServicePort],
) -> None:
    snapshot = snapshot_of(*known, node=node, ruled=ruled)
    answer = admit(snapshot, WEB.key, place, chooses=chooses)
    if isinstance(answer, Refusal):
        assert answer.problem
        assert answer.reason
    elif place:
        (endpoint,) = answer.entered.endpoints
        assert endpoint.node == node != ""
    else:
        assert chooses
        assert ruled


@pytest.mark.parametrize(
    ("ending", "reason", "problem"),
    [
        (Ending.REFUSED, FlowRefusal.SERVER_OVERFLOW, AT_A_LIMIT),
        (Ending.REFUSED, FlowRefusal.NO_ENDPOINT, errno.ECONNREFUSED),
        (Ending.CONNECT_FAILED, "10.0.0.1:80: refused", errno.ECONNREFUSED),
        (Ending.CONNECT_TIMEOUT, "", errno.ETIMEDOUT),
    ],
)
def test_a_flow_that_is_over_before_it_began_fails_the_connect_at_the_other_end(
    ending: Ending, reason: str, problem: int
) -> None:
    assert problem_of(ending, reason) == problem
