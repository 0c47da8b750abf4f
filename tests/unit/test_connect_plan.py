"""What the kernel is told of Service ports: complete, of the right family, and no more often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.flows import Refusal
from edgemesh.model.policies import (
    DEFAULT_POLICY,
    Balance,
    Balancing,
    Limits,
    Locality,
    Policy,
    Quota,
)
from edgemesh.model.services import Endpoint, ServiceAddress, ServicePort, Snapshot, Transport
from edgemesh.policy.connect.plan import ConnectPlan, Whose
from edgemesh.policy.traffic.traffic import Traffic

FOUR = ServiceAddress("10.96.0.1", Transport.TCP, 80)
SIX = ServiceAddress("fd00:96::1", Transport.TCP, 80)
BOTH = (FOUR, SIX)
NOW = 1000.0

ENDPOINTS = st.lists(
    st.builds(
        lambda last, ipv6, weight, node: Endpoint(
            f"fd00::{last}" if ipv6 else f"10.0.0.{last}", 8080, node=node, weight=weight
        ),
        st.integers(1, 9),
        st.booleans(),
        st.integers(0, 3),
        st.sampled_from(["here", "there"]),
    ),
    max_size=5,
    unique_by=lambda each: each.address,
)
POLICIES = st.builds(
    lambda algorithm, locality: Policy(balancing=Balancing(algorithm, locality=locality)),
    st.sampled_from([Balance.ROUND_ROBIN, Balance.RANDOM]),
    st.sampled_from([Locality.ANY, Locality.NODE_ONLY]),
)


def service_port(endpoints: Sequence[Endpoint], policy: Policy = DEFAULT_POLICY) -> ServicePort:
    return ServicePort(
        "default", "web", "", Transport.TCP, 80, policy=policy, endpoints=tuple(endpoints)
    )


def put(
    plan: ConnectPlan,
    endpoints: Sequence[Endpoint],
    policy: Policy = DEFAULT_POLICY,
    addresses: Sequence[ServiceAddress] = BOTH,
) -> ConnectPort | None:
    port = service_port(endpoints, policy)
    traffic = Traffic(lambda: 0.0)
    traffic.swap(Snapshot(node="here", ports={port.key: port}), NOW)
    return plan.put(port, addresses, traffic.spread(port, NOW))


def planned(
    endpoints: Sequence[Endpoint],
    policy: Policy = DEFAULT_POLICY,
    addresses: Sequence[ServiceAddress] = BOTH,
) -> ConnectPort:
    connect = put(ConnectPlan(1), endpoints, policy, addresses)
    assert connect is not None
    return connect


@given(ENDPOINTS, POLICIES)
def test_calls_go_to_endpoints_of_their_own_family(
    endpoints: list[Endpoint], policy: Policy
) -> None:
    connect = planned(endpoints, policy)
    assert not any(":" in one.address for one in connect.four)
    assert all(":" in one.address for one in connect.six)


@given(ENDPOINTS, POLICIES)
def test_an_address_has_endpoints_or_a_refusal(endpoints: list[Endpoint], policy: Policy) -> None:
    connect = planned(endpoints, policy)
    for address, members in ((FOUR, connect.four), (SIX, connect.six)):
        if address in connect.addresses and not members:
            assert connect.refusal is not None


@given(ENDPOINTS, POLICIES)
def test_what_is_left_alone_has_no_table(endpoints: list[Endpoint], policy: Policy) -> None:
    connect = planned(endpoints, policy)
    assert not connect.four or FOUR in connect.addresses
    assert not connect.six or SIX in connect.addresses


@given(ENDPOINTS, POLICIES)
def test_shares_are_weights(endpoints: list[Endpoint], policy: Policy) -> None:
    weights = {each.address: each.weight for each in endpoints}
    connect = planned(endpoints, policy)
    for one in connect.four + connect.six:
        assert one.share == weights[one.address] > 0


@given(ENDPOINTS, POLICIES)
def test_only_endpoints_of_the_same_share_take_turns(
    endpoints: list[Endpoint], policy: Policy
) -> None:
    connect = planned(endpoints, policy)
    if connect.even:
        assert policy.balancing.algorithm is Balance.ROUND_ROBIN
        assert len({one.share for one in connect.four}) <= 1
        assert len({one.share for one in connect.six}) <= 1


@given(ENDPOINTS, POLICIES)
def test_what_stands_is_not_written_again(endpoints: list[Endpoint], policy: Policy) -> None:
    plan = ConnectPlan(1)
    assert put(plan, endpoints, policy) is not None
    assert put(plan, endpoints, policy) is None


@given(st.lists(ENDPOINTS, min_size=1, max_size=6))
def test_an_endpoint_keeps_its_number_while_the_port_has_it(changes: list[list[Endpoint]]) -> None:
    plan = ConnectPlan(1)
    numbers: dict[tuple[str, int], int | None] = {}
    for endpoints in changes:
        put(plan, endpoints)
        places = [(each.address, each.port) for each in endpoints]
        now = {place: plan.members(service_port(()).key).get(place) for place in places}
        assert None not in now.values()
        assert len(set(now.values())) == len(now)
        assert all(numbers[place] == now[place] for place in numbers.keys() & now.keys())
        numbers = now


@given(st.lists(ENDPOINTS, min_size=1, max_size=6))
def test_a_number_stands_for_one_endpoint_until_it_is_forgotten(
    changes: list[list[Endpoint]],
) -> None:
    plan = ConnectPlan(1)
    known: dict[int, tuple[str, int]] = {}
    for endpoints in changes:
        put(plan, endpoints)
        for each in endpoints:
            place = (each.address, each.port)
            number = plan.members(service_port(()).key).get(place)
            assert number is not None
            assert known.setdefault(number, place) == place
        for number, place in known.items():
            whose = plan.endpoint(number)
            assert whose is not None
            assert whose.place == place
            assert whose.gone is (plan.members(whose.key).get(place) != number)


def test_an_endpoint_that_is_gone_is_remembered_until_it_is_forgotten() -> None:
    plan = ConnectPlan(1)
    key = service_port(()).key
    put(plan, [Endpoint("10.0.0.1", 80)])
    number = plan.members(key).get(("10.0.0.1", 80))
    assert number is not None
    put(plan, [Endpoint("10.0.0.2", 80)])
    assert plan.endpoint(number) == Whose(key, ("10.0.0.1", 80), gone=True)
    assert plan.gone() == (number,)
    plan.forget(number)
    assert plan.endpoint(number) is None
    assert plan.gone() == ()


def test_an_endpoint_of_no_weight_has_a_number_and_takes_no_calls() -> None:
    plan = ConnectPlan(1)
    connect = put(plan, [Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80, weight=0)])
    assert connect is not None
    assert [one.address for one in connect.four] == ["10.0.0.1"]
    assert ("10.0.0.2", 80) in plan.members(service_port(()).key)


def test_a_port_that_is_removed_leaves_its_endpoints_to_be_forgotten() -> None:
    plan = ConnectPlan(1)
    connect = put(plan, [Endpoint("10.0.0.1", 80)])
    assert connect is not None
    key = service_port(()).key
    assert len(plan) == 1
    assert plan.port(connect.id) == key
    assert plan.remove(key) == connect.id
    assert len(plan) == 0
    assert plan.port(connect.id) is None
    assert plan.members(key).get(("10.0.0.1", 80)) is None
    assert plan.endpoint(connect.four[0].id) == Whose(key, ("10.0.0.1", 80), gone=True)


def test_a_port_that_was_not_balanced_needs_no_removal() -> None:
    assert ConnectPlan(1).remove(service_port(()).key) is None


@given(ENDPOINTS, POLICIES)
def test_it_tells_where_calls_are_balanced(endpoints: list[Endpoint], policy: Policy) -> None:
    plan = ConnectPlan(1)
    key = service_port(()).key
    assert plan.addresses(key) == ()
    connect = put(plan, endpoints, policy)
    assert connect is not None
    assert plan.addresses(key) == connect.addresses
    plan.remove(key)
    assert plan.addresses(key) == ()


def test_limits_of_connections_go_along() -> None:
    policy = Policy(
        balancing=Balancing(affinity_seconds=60),
        client_quota=Quota(50.0, 0),
        limits=Limits(max_connections=7),
    )
    connect = planned([Endpoint("10.0.0.1", 80)], policy)
    assert connect == ConnectPort(
        1,
        (FOUR,),
        (ConnectEndpoint(2, "10.0.0.1", 80, 1),),
        even=True,
        affinity_seconds=60,
        rate=50.0,
        burst=1,
        max_connections=7,
    )


def test_datagrams_have_no_limit_of_connections() -> None:
    port = replace(
        service_port([Endpoint("10.0.0.1", 80)], Policy(limits=Limits(max_connections=7))),
        transport=Transport.UDP,
    )
    spread = Traffic(lambda: 0.0).spread(port, NOW)
    connect = ConnectPlan(1).put(port, [ServiceAddress("10.96.0.1", Transport.UDP, 80)], spread)
    assert connect is not None
    assert connect.max_connections == 0


def test_an_ipv6_address_with_ipv4_endpoints_is_left_alone() -> None:
    assert planned([Endpoint("10.0.0.1", 80)]).addresses == (FOUR,)


def test_a_service_without_endpoints_refuses_in_both_families() -> None:
    connect = planned([])
    assert connect.addresses == BOTH
    assert connect.refusal is Refusal.NO_ENDPOINT


def test_a_family_that_is_not_called_has_no_table() -> None:
    endpoints = [Endpoint("10.0.0.1", 80), Endpoint("fd00::1", 80)]
    assert planned(endpoints, addresses=(FOUR,)).six == ()
    assert planned(endpoints, addresses=(SIX,)).four == ()
