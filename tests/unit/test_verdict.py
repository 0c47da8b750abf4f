"""The decision about one flow."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.policies import (
    Balance,
    Balancing,
    HashKey,
    HashSource,
    Limits,
    Policy,
    Quota,
    QuotaScope,
)
from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import (
    Endpoint,
    PodIdentity,
    ServicePort,
    Snapshot,
    Source,
    Transport,
)
from edgemesh.model.streams import InboundStream
from edgemesh.policy.deadlines import policy_or_setting
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import Verdict, caller_key, client_quota_wait, decide, preview

OURS = 15001
ENDPOINTS = (Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080))
WEB = ServicePort(
    "default",
    "web",
    "http",
    Transport.TCP,
    80,
    node_port=30080,
    source=Source.PRESERVE,
    endpoints=ENDPOINTS,
)
EMPTY = ServicePort("default", "empty", "", Transport.TCP, 80)
NAMES = ServicePort(
    "default",
    "names",
    "",
    Transport.UDP,
    53,
    node_port=30053,
    endpoints=(Endpoint("10.0.0.3", 53),),
)
SNAPSHOT = Snapshot(
    tcp={("10.96.0.1", 80): WEB, ("fd00::1", 80): WEB, ("10.96.0.2", 80): EMPTY},
    udp={("10.96.0.1", 53): NAMES},
    tcp_node_ports={30080: WEB},
    udp_node_ports={30053: NAMES},
    pods={
        "10.244.0.9": PodIdentity("shop", "cart-1", workload="cart"),
        "10.244.0.8": PodIdentity("shop", "alone"),
    },
)


def facts_of(
    address: str, port: int, transport: Transport = Transport.TCP, client: str = "10.244.0.9"
) -> FlowFacts:
    return FlowFacts(transport, (client, 40000), (address, port))


def traffic() -> Traffic:
    return Traffic(Random(0).random)


def decided(address: str, port: int, transport: Transport = Transport.TCP) -> Verdict:
    return decide(SNAPSHOT, facts_of(address, port, transport), traffic(), 0.0, listener_port=OURS)


def previewed(facts: FlowFacts, state: Traffic | None = None) -> Verdict:
    return preview(SNAPSHOT, facts, state or traffic(), 0.0, listener_port=OURS, attempts=3)


class Called:
    """One Service port with a policy, called again and again."""

    def __init__(self, policy: Policy, transport: Transport = Transport.TCP) -> None:
        self.traffic = traffic()
        self.transport = transport
        port = ServicePort("default", "web", "", transport, 80, policy=policy, endpoints=ENDPOINTS)
        self.port = port
        called = {("10.96.0.1", 80): port, ("fd00::1", 80): port}
        self.snapshot = Snapshot(tcp=called, udp=called, pods=SNAPSHOT.pods)

    def __call__(self, client: str = "10.244.0.9", now: float = 0.0) -> Verdict:
        facts = facts_of("10.96.0.1", 80, self.transport, client)
        return decide(self.snapshot, facts, self.traffic, now, listener_port=OURS)


@pytest.mark.parametrize(
    ("address", "port", "transport", "expected"),
    [
        ("10.96.0.1", 80, Transport.TCP, WEB),
        ("fd00::1", 80, Transport.TCP, WEB),
        ("192.0.2.7", 30080, Transport.TCP, WEB),
        ("10.96.0.1", 53, Transport.UDP, NAMES),
        ("192.0.2.7", 30053, Transport.UDP, NAMES),
    ],
)
def test_a_call_of_a_service_is_forwarded_to_one_of_its_endpoints(
    address: str, port: int, transport: Transport, expected: ServicePort
) -> None:
    verdict = decided(address, port, transport)
    assert verdict.port is expected
    (state,) = verdict.candidates
    assert state.endpoint is expected.endpoints[0]
    assert verdict.upstream is not None
    assert verdict.upstream.port is expected
    assert verdict.source is expected.source
    assert verdict.path == "relay"
    assert verdict.refusal is None


@pytest.mark.parametrize(
    ("address", "port", "transport", "refusal"),
    [
        ("10.96.0.2", 80, Transport.TCP, Refusal.NO_ENDPOINT),
        ("10.96.0.1", 81, Transport.TCP, Refusal.NO_SERVICE),
        ("10.96.0.1", 80, Transport.UDP, Refusal.NO_SERVICE),
        ("192.0.2.7", OURS, Transport.TCP, Refusal.SELF_DESTINATION),
    ],
)
def test_a_call_that_cannot_be_served_is_refused_with_its_reason(
    address: str, port: int, transport: Transport, refusal: Refusal
) -> None:
    for verdict in (
        decided(address, port, transport),
        previewed(facts_of(address, port, transport)),
    ):
        assert verdict.refusal is refusal
        assert verdict.candidates == ()
        assert verdict.path == ""


def test_flows_take_turns() -> None:
    called = Called(Policy())
    endpoints = [called().candidates[0].endpoint for _ in range(4)]
    assert endpoints == [*ENDPOINTS, *ENDPOINTS]


@pytest.mark.parametrize(
    ("protocol", "path"), [("http", "http"), ("grpc", "http"), ("tls", "relay"), ("", "relay")]
)
def test_a_preview_names_the_path_and_who_would_follow(protocol: str, path: str) -> None:
    state = traffic()
    facts = FlowFacts(Transport.TCP, ("10.244.0.9", 1), ("10.96.0.1", 80), protocol)
    for _ in range(3):
        verdict = previewed(facts, state)
        assert [each.endpoint for each in verdict.candidates] == [*ENDPOINTS]
        assert verdict.path == path


def test_connections_beyond_the_quota_are_refused_and_take_no_turn() -> None:
    called = Called(Policy(client_quota=Quota(1, 1)))
    assert called().candidates[0].endpoint is ENDPOINTS[0]
    assert called().refusal is Refusal.QUOTA
    assert called(now=1.0).candidates[0].endpoint is ENDPOINTS[1]


def test_the_quota_of_datagrams_is_not_taken_by_their_session() -> None:
    called = Called(Policy(client_quota=Quota(1, 1)), Transport.UDP)
    assert [called().refusal for _ in range(3)] == [None, None, None]


def test_a_preview_takes_no_token() -> None:
    called = Called(Policy(client_quota=Quota(1, 1)))
    facts = facts_of("10.96.0.1", 80)
    for _ in range(3):
        verdict = preview(
            called.snapshot, facts, called.traffic, 0.0, listener_port=OURS, attempts=1
        )
        assert verdict.refusal is None
    assert called().refusal is None


def test_quotas_by_source_tell_workloads_apart() -> None:
    called = Called(Policy(client_quota=Quota(1, 1, QuotaScope.SOURCE)))
    clients = ["10.244.0.9", "10.244.0.9", "10.244.0.8", "192.0.2.1", "192.0.2.1"]
    refusals = [called(client).refusal for client in clients]
    assert refusals == [None, Refusal.QUOTA, None, None, Refusal.QUOTA]


def test_quotas_by_route_count_for_all_flows_together() -> None:
    called = Called(Policy(client_quota=Quota(1, 1, QuotaScope.ROUTE)))
    assert [called(client).refusal for client in ("10.244.0.9", "10.244.0.8")] == [
        None,
        Refusal.QUOTA,
    ]


def test_without_a_quota_nothing_is_taken() -> None:
    called = Called(Policy())
    assert client_quota_wait(called.traffic, called.port, "192.0.2.1", 0.0) == 0.0


@pytest.mark.parametrize(
    ("client", "key"),
    [("10.244.0.9", "shop/cart"), ("10.244.0.8", "shop/alone"), ("192.0.2.1", "192.0.2.1")],
)
def test_a_client_counts_as_its_workload_or_as_its_address(client: str, key: str) -> None:
    assert caller_key(SNAPSHOT, client, None) == key


@pytest.mark.parametrize(("workload", "key"), [("shop/cart", "shop/cart"), ("", "node-a")])
def test_the_client_of_a_stream_counts_as_the_other_end_says(workload: str, key: str) -> None:
    stream = InboundStream(
        "node-a", WEB.key, "10.0.0.1:8080", ("10.244.0.9", 4000), workload, Transport.TCP
    )
    assert caller_key(SNAPSHOT, "10.244.0.9", stream) == key


def test_a_flow_goes_where_its_stream_was_let_in() -> None:
    snapshot = Snapshot()
    stream = InboundStream("node-a", WEB.key, "", ("10.244.0.9", 4000), "", Transport.TCP)
    facts = FlowFacts(Transport.TCP, stream.client, ("", 80), stream=stream)
    traffic = Traffic(lambda: 0.0)
    verdict = decide(snapshot, facts, traffic, 0.0, listener_port=OURS, entered=WEB)
    assert verdict.port is WEB
    assert verdict.candidates[0].endpoint in ENDPOINTS


def test_what_routes_say_of_callers_holds_for_none_that_comes_by_a_stream() -> None:
    stream = InboundStream("node-a", WEB.key, "", ("10.244.0.9", 4000), "", Transport.TCP)
    route = ConnectionRoute("mine", (Backend("default", "web", 80),), source_namespace="shop")
    port = replace(WEB, connection_routes=(route,))
    facts = FlowFacts(Transport.TCP, stream.client, ("", 80), stream=stream)
    traffic = Traffic(lambda: 0.0)
    verdict = decide(SNAPSHOT, facts, traffic, 0.0, listener_port=OURS, entered=port)
    assert verdict.route == ""


def test_connections_beyond_the_limit_are_refused_and_take_no_token() -> None:
    called = Called(Policy(limits=Limits(max_connections=1), client_quota=Quota(1, 2)))
    verdict = called()
    assert verdict.upstream is not None
    verdict.upstream.open_connection(verdict.candidates[0])
    assert [called().refusal for _ in range(3)] == [Refusal.OVERFLOW] * 3
    verdict.upstream.close_connection(verdict.candidates[0])
    assert called().refusal is None


@pytest.mark.parametrize(
    ("key", "places"),
    [
        (None, 1),
        (HashKey(HashSource.SOURCE_ADDRESS), 1),
        (HashKey(HashSource.HEADER, "x-user"), 2),
    ],
)
def test_flows_are_hashed_by_their_source_address_or_else_spread_by_chance(
    key: HashKey | None, places: int
) -> None:
    called = Called(Policy(balancing=Balancing(Balance.MAGLEV, key)))
    assert len({called("192.0.2.1").candidates[0].endpoint for _ in range(20)}) == places


@pytest.mark.parametrize(("policy", "seconds"), [(None, 5.0), (0.0, 0.0), (1.5, 1.5)])
def test_a_deadline_of_the_policy_holds_before_that_of_the_configuration(
    policy: float | None, seconds: float
) -> None:
    assert policy_or_setting(policy, 5.0) == seconds
