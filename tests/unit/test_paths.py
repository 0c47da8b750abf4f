"""Which path the calls of a Service port take, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.paths import ALL_PATHS, NOT_LOOKED_AT, AvailablePaths
from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    Limits,
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
from edgemesh.model.services import ServicePort, Transport
from edgemesh.policy.connect.hindrances import connect_hindrance
from edgemesh.policy.paths import choose_path, forwarding_path, hello_matters, path_states

WEB = ServicePort("default", "web", "", Transport.TCP, 80)
TCP = replace(WEB, application_protocol="tcp")
UDP = replace(WEB, transport=Transport.UDP)
TO_WEB = (Backend("", "", 0),)
NAMED = ConnectionRoute("r", TO_WEB, server_names=("a.org",))
PER_SERVICE, PER_SOURCE = Quota(1, 1), Quota(1, 1, QuotaScope.SOURCE)
NO_BPF = AvailablePaths("no cgroup v2 here", "no BTF here", "")
NOTHING = AvailablePaths("no cgroup v2 here", "no BTF here", "no pipes here")
BREAKER = Policy(breaker=Breaker())


def chosen(
    port: ServicePort, available: AvailablePaths = ALL_PATHS, **policy: Any
) -> tuple[str, str]:
    if policy:
        port = replace(port, policy=Policy(**policy))
    path, reason = choose_path(port, port.application_protocol, available)
    return path.value, reason


def test_calls_that_need_nobody_are_balanced_when_they_connect() -> None:
    expected = ("connect", "nothing that is asked needs the agent")
    assert [chosen(port) for port in (WEB, TCP, UDP)] == [expected] * 3


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ({"application_protocol": "grpc"}, "it speaks grpc"),
        ({"application_protocol": "http", "policy": BREAKER}, "its policies are about requests"),
        ({"application_protocol": "http", "routes": (Route("r"),)}, "requests are routed"),
        (
            {"application_protocol": "http", "policy": Policy(path=Path.HTTP)},
            "its policy asks for it",
        ),
        ({"policy": BREAKER}, "its policies are about requests, where its first bytes are of HTTP"),
        (
            {"subsets": {"a": Subset("a", frozenset(), BREAKER)}},
            "its policies are about requests, where its first bytes are of HTTP",
        ),
    ],
)
def test_requests_are_seen_where_they_matter(port: dict[str, Any], reason: str) -> None:
    changed = replace(WEB, **port)
    assert chosen(changed) == chosen(changed, NOTHING) == ("http", reason)


@pytest.mark.parametrize("path", [Path.CONNECT, Path.SPLICE])
def test_who_asks_for_less_than_http_keeps_the_routes_of_requests(path: Path) -> None:
    policy = Policy(path=path, client_quota=PER_SERVICE)
    declared = replace(WEB, application_protocol="http", policy=policy)
    assert choose_path(declared, "http", ALL_PATHS) == (path, "its policy asks for it")
    routed = replace(declared, routes=(Route("r"),))
    assert choose_path(routed, "http", ALL_PATHS) == (Path.HTTP, "requests are routed")


@pytest.mark.parametrize(
    ("policy", "hindrance"),
    [
        ({"client_quota": PER_SOURCE}, "the quota is by source"),
        ({"server": ServerLimits(max_concurrent=1)}, "what goes to the endpoints is limited"),
        ({"server": ServerLimits(PER_SERVICE)}, "what goes to the endpoints is limited"),
        (
            {"balancing": Balancing(Balance.LEAST_REQUEST)},
            "endpoints are chosen by least_request",
        ),
        ({"balancing": Balancing(Balance.MAGLEV)}, "endpoints are chosen by maglev"),
        (
            {"breaker": Breaker(success_rate_request_volume=9)},
            "success rates need every call",
        ),
        ({"timeouts": Timeouts(connect=1)}, "connecting has a deadline"),
        ({"timeouts": Timeouts(idle=60)}, "silence has a deadline"),
    ],
)
def test_what_only_the_agent_can_honour_comes_to_it(policy: dict[str, Any], hindrance: str) -> None:
    because = f"connect: {hindrance}"
    assert chosen(TCP, **policy) == ("splice", because)
    assert chosen(TCP, path=Path.CONNECT, **policy) == ("splice", because)
    assert chosen(UDP, **policy) == ("relay", f"{because}; splice: it is for TCP")


def test_a_breaker_is_honoured_by_the_kernel_where_it_sees_failures() -> None:
    assert chosen(TCP, breaker=Breaker())[0] == "connect"
    because = "connect: the breaker needs answers to datagrams; splice: it is for TCP"
    assert chosen(UDP, breaker=Breaker()) == ("relay", because)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"client_quota": PER_SERVICE},
        {"balancing": Balancing(Balance.RANDOM, affinity_seconds=9, slow_start_seconds=9)},
        {"breaker": Breaker(), "limits": Limits(7)},
        {"timeouts": Timeouts(request=1, idle=0), "retries": Retries()},
    ],
)
def test_what_the_kernel_can_honour_does_not(policy: dict[str, Any]) -> None:
    assert chosen(TCP, **policy)[0] == "connect"


def test_a_quota_of_datagrams_is_taken_by_the_agent() -> None:
    reason = "connect: the quota counts datagrams; splice: it is for TCP"
    assert chosen(UDP, client_quota=PER_SERVICE) == ("relay", reason)


def test_a_breaker_that_needs_answers_to_datagrams_is_the_agents() -> None:
    reason = "connect: the breaker needs answers to datagrams; splice: it is for TCP"
    assert chosen(UDP, breaker=Breaker()) == ("relay", reason)


@pytest.mark.parametrize("declared", ["http", "tls"])
def test_connections_that_are_routed_come_to_the_agent(declared: str) -> None:
    routed = replace(WEB, application_protocol=declared, connection_routes=(NAMED,))
    assert chosen(routed) == ("splice", "connect: connections are routed")


def test_a_call_of_an_endpoint_itself_is_not_balanced_again() -> None:
    assert connect_hindrance(replace(TCP, inbound=True)) == "the endpoint is chosen already"
    assert connect_hindrance(replace(TCP, routes=(Route("r"),))) == "requests are routed"


def test_a_breaker_that_cannot_see_failures_has_the_agent_look() -> None:
    blind = ALL_PATHS._replace(failures="no BTF here")
    because = "connect: its breaker sees no failures: no BTF here"
    assert chosen(TCP, blind, breaker=Breaker()) == ("splice", because)
    assert chosen(TCP, blind)[0] == "connect"
    neither = blind._replace(connect="no cgroup v2 here")
    assert chosen(TCP, neither, breaker=Breaker())[1] == "connect: no cgroup v2 here"


@pytest.mark.parametrize(
    ("port", "asked", "available", "expected"),
    [
        (TCP, Path.RELAY, ALL_PATHS, ("relay", "its policy asks for it")),
        (TCP, Path.SPLICE, ALL_PATHS, ("splice", "its policy asks for it")),
        (TCP, Path.CONNECT, ALL_PATHS, ("connect", "its policy asks for it")),
        (UDP, Path.SPLICE, ALL_PATHS, ("relay", "splice: it is for TCP")),
        (TCP, Path.HTTP, ALL_PATHS, ("connect", "http: it declares tcp")),
        (UDP, Path.HTTP, ALL_PATHS, ("connect", "http: it declares UDP")),
        (TCP, Path.AUTO, NO_BPF, ("splice", "connect: no cgroup v2 here")),
        (TCP, Path.CONNECT, NO_BPF, ("splice", "connect: no cgroup v2 here")),
        (TCP, Path.SPLICE, NOTHING, ("relay", "splice: no BTF here; no pipes here")),
        (
            TCP,
            Path.AUTO,
            NOT_LOOKED_AT,
            ("relay", "connect: not looked at yet; splice: not looked at yet"),
        ),
    ],
)
def test_a_path_that_is_asked_for_is_taken_if_it_can_be(
    port: ServicePort, asked: Path, available: AvailablePaths, expected: tuple[str, str]
) -> None:
    assert chosen(port, available, path=asked) == expected


def test_each_path_tells_whether_it_is_available() -> None:
    assert path_states(ALL_PATHS) == dict.fromkeys(
        ("connect", "splice", "relay", "http"), "available"
    )
    assert path_states(NOTHING) == {
        "connect": "no cgroup v2 here",
        "splice": "no BTF here; no pipes here",
        "relay": "available",
        "http": "available",
    }
    without_gate, without_pipes = AvailablePaths("", "a", ""), AvailablePaths("", "", "b")
    assert path_states(without_gate)["splice"] == (
        "available for large transfers; small messages: a"
    )
    assert path_states(without_pipes)["splice"] == (
        "available for small messages; large transfers: b"
    )


def test_what_a_path_does_not_come_with_is_told() -> None:
    less = ALL_PATHS._replace(failures="a", observed="b")
    assert path_states(less) == {
        "connect": "available; failures are not seen, for breakers: a",
        "splice": "available; requests are not counted: b",
        "relay": "available",
        "http": "available",
    }
    without_gate = AvailablePaths("", "a", "", observed="b")
    assert "counted" not in path_states(without_gate)["splice"]
    assert path_states(NOTHING._replace(failures="a"))["connect"] == "no cgroup v2 here"


quotas = st.sampled_from([None, PER_SERVICE, PER_SOURCE])
policies = st.builds(
    Policy,
    path=st.sampled_from(Path),
    balancing=st.builds(Balancing, st.sampled_from(Balance)),
    client_quota=quotas,
    server=st.builds(ServerLimits, quotas),
    breaker=st.none() | st.builds(Breaker, success_rate_request_volume=st.integers(0, 1)),
    timeouts=st.builds(Timeouts, st.none() | st.just(1.0)),
    retries=st.none() | st.just(Retries()),
)
ports = st.builds(
    ServicePort,
    st.just("default"),
    st.just("web"),
    st.just(""),
    st.sampled_from(Transport),
    st.just(80),
    application_protocol=st.sampled_from(["", "http", "grpc", "tls", "tcp"]),
    policy=policies,
    routes=st.sampled_from([(), (Route("r"),)]),
    connection_routes=st.sampled_from([(), (NAMED,), (ConnectionRoute("r", TO_WEB),)]),
)
states = st.sampled_from(["", "why not"])
availabilities = st.builds(AvailablePaths, states, states, states, states)


@given(ports, availabilities)
def test_no_path_is_taken_that_does_not_work_or_honours_less(
    port: ServicePort, available: AvailablePaths
) -> None:
    path, reason = choose_path(port, port.application_protocol, available)
    assert reason
    assert path is not Path.AUTO
    if path is Path.CONNECT:
        assert not available.connect
        assert not connect_hindrance(port)
        assert not hello_matters(port)
    if path is Path.SPLICE:
        assert port.transport is Transport.TCP
        assert not (available.sockmap and available.splice)
    if path is Path.HTTP:
        assert port.transport is Transport.TCP


@given(ports, availabilities)
def test_a_flow_that_reaches_the_agent_is_seen_as_the_choice_says(
    port: ServicePort, available: AvailablePaths
) -> None:
    protocol = port.application_protocol
    path, _ = choose_path(port, protocol, available)
    if protocol:
        assert (forwarding_path(port, protocol) is Path.HTTP) is (path is Path.HTTP)
    elif path is Path.HTTP:
        assert hello_matters(port)


@given(ports, availabilities)
def test_what_works_less_never_makes_a_path_lighter(
    port: ServicePort, available: AvailablePaths
) -> None:
    weight = [Path.CONNECT, Path.SPLICE, Path.RELAY, Path.HTTP].index
    best, _ = choose_path(port, port.application_protocol, ALL_PATHS)
    here, _ = choose_path(port, port.application_protocol, available)
    assert weight(best) <= weight(here)
