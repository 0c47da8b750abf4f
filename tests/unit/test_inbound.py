"""Endpoints of this node as calls see them that reach them at their own address."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, change, endpoint, endpoint_slice, service
from policy_bodies import traffic_policy

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.objects import ChangeType
from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    Limits,
    Path,
    Policy,
    Quota,
    Retries,
    ServerLimits,
    Timeouts,
)
from edgemesh.model.services import (
    Endpoint,
    InboundAddress,
    ServiceAddress,
    ServicePort,
    Snapshot,
    Source,
    Transport,
)
from edgemesh.model.services import Service as ModelService
from edgemesh.observe.metrics.meters import endpoint_labels
from edgemesh.policy.addresses import service_addresses
from edgemesh.policy.inbound import inbound_ports
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import decide, find_port, preview

HERE = Endpoint("10.0.0.1", 8080, node="edge-1", weight=0)
ELSEWHERE = Endpoint("10.0.0.2", 8080, node="edge-2")
LIMITS = ServerLimits(quota=Quota(10, 1))
PLACE = ("10.0.0.1", 8080)
QPS = {"qps": {"server": {"rate": 10, "burst": 1}}}


def web(
    *endpoints: Endpoint, server: ServerLimits = LIMITS, transport: Transport = Transport.TCP
) -> ServicePort:
    return ServicePort(
        "default",
        "web",
        "http",
        transport,
        80,
        node_port=30080,
        application_protocol="http",
        policy=Policy(server=server),
        endpoints=endpoints or (HERE, ELSEWHERE),
    )


def inbound(*ports: ServicePort, node: str = "edge-1") -> list[ServicePort]:
    found = ModelService("default", "web", ports=ports)
    return list(inbound_ports(found, node, Source.PRESERVE))


def test_only_endpoints_of_the_node_are_inbound_and_each_by_itself() -> None:
    also_here = Endpoint("fd00::1", 8080, node="edge-1")
    found = inbound(web(HERE, ELSEWHERE, also_here))
    assert [port.endpoints for port in found] == [(replace(HERE, weight=1),), (also_here,)]


def test_a_node_without_a_name_has_no_endpoints() -> None:
    assert inbound(web(Endpoint("10.0.0.1", 8080)), node="") == []


@pytest.mark.parametrize(
    ("transport", "server", "is_inbound"),
    [
        (Transport.TCP, ServerLimits(), False),
        (Transport.TCP, ServerLimits(max_queue=5), False),
        (Transport.TCP, LIMITS, True),
        (Transport.TCP, ServerLimits(max_concurrent=1), True),
        (Transport.UDP, LIMITS, True),
        (Transport.UDP, ServerLimits(max_concurrent=1), False),
    ],
)
def test_nothing_is_inbound_where_servers_are_not_limited(
    transport: Transport, server: ServerLimits, is_inbound: bool
) -> None:
    assert bool(inbound(web(server=server, transport=transport))) is is_inbound


def test_what_is_the_callers_to_decide_is_left_out() -> None:
    policy = Policy(
        path=Path.RELAY,
        balancing=Balancing(Balance.RANDOM),
        client_quota=Quota(1, 1),
        server=LIMITS,
        breaker=Breaker(),
        limits=Limits(max_connections=1),
        timeouts=Timeouts(connect=1, request=2, idle=3),
        retries=Retries(),
    )
    (found,) = inbound(replace(web(), policy=policy))
    assert found.policy == Policy(
        path=Path.RELAY, server=LIMITS, timeouts=Timeouts(connect=1, request=0, idle=3)
    )
    assert (found.node_port, found.source) == (0, Source.PRESERVE)
    assert found.application_protocol == "http"


def test_an_inbound_port_counts_for_its_service_but_is_known_apart() -> None:
    port = web()
    (found,) = inbound(port)
    assert found.limits_key == port.limits_key == port.key
    assert found.key != port.key
    assert str(found) == str(port)


# In the snapshot.


def built(*bodies: Body) -> Snapshot:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in bodies)
    return made.build(1)


def slice_of(name: str) -> Body:
    here, elsewhere = endpoint("10.0.0.1", nodeName="edge-1"), endpoint("10.0.0.2", nodeName="b")
    return endpoint_slice(here, elsewhere, service_name=name, name=f"{name}-x")


def policy_of(name: str, **spec: Any) -> Body:
    return traffic_policy(name, targetRef={"kind": "Service", "name": name}, **spec)


def test_an_endpoint_is_intercepted_as_long_as_a_policy_limits_its_server() -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply([change(service()), change(slice_of("web"))])
    assert not made.build(1).tcp_inbound
    made.apply([change(policy_of("web", **QPS))])
    found = made.build(2)
    assert list(found.tcp_inbound) == [PLACE]
    assert InboundAddress("10.0.0.1", Transport.TCP, 8080) in service_addresses(found)
    assert found.ports[found.tcp_inbound[PLACE].key] is found.tcp_inbound[PLACE]
    made.apply([change(policy_of("web", qps={"client": {"rate": 1}}))])
    found = made.build(3)
    assert not found.tcp_inbound
    assert list(found.ports) == [("default", "web", "TCP", 80)]


@pytest.mark.parametrize("gone", ["service", "slice", "policy"])
def test_an_endpoint_is_inbound_no_more_when_one_of_its_objects_is_gone(gone: str) -> None:
    bodies = {"service": service(), "slice": slice_of("web"), "policy": policy_of("web", **QPS)}
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in bodies.values())
    assert made.build(1).tcp_inbound
    made.apply([change(bodies[gone], ChangeType.DELETE)])
    assert not made.build(2).tcp_inbound


def test_a_service_of_another_proxy_has_no_inbound_endpoints() -> None:
    other = service()
    other["metadata"]["labels"] = {"service.edgemesh.kubeedge.io/service-proxy-name": "x"}
    assert not built(other, slice_of("web"), policy_of("web", **QPS)).tcp_inbound


@given(st.permutations(["api", "web", "plain"]))
def test_of_services_that_share_an_endpoint_the_last_that_limits_it_holds(order: list[str]) -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    for name in order:
        made.apply([change(service(name)), change(slice_of(name))])
        if name != "plain":
            made.apply([change(policy_of(name, **QPS))])
        made.build(1)
    assert made.build(1).tcp_inbound[PLACE].service == "web"
    made.apply([change(service("web"), ChangeType.DELETE)])
    assert made.build(1).tcp_inbound[PLACE].service == "api"


def test_two_ports_of_a_service_may_share_an_endpoint() -> None:
    both = service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}])
    slices = [
        endpoint_slice(endpoint("10.0.0.1", nodeName="edge-1"), name=name, port_name=name)
        for name in ("a", "b")
    ]
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in (both, *slices, policy_of("web", **QPS)))
    assert made.build(1).tcp_inbound[PLACE].port == 81
    made.apply([change(service(ports=[{"name": "a", "port": 80}]))])
    assert made.build(2).tcp_inbound[PLACE].port == 80


def test_a_service_address_is_no_inbound_address_of_the_same_parts() -> None:
    parts = ("10.0.0.1", Transport.TCP, 8080)
    assert len({ServiceAddress(*parts), InboundAddress(*parts)}) == 2


# In decisions.


def snapshot_of(port: ServicePort) -> Snapshot:
    (found,) = inbound(port)
    table = {PLACE: found}
    is_tcp = port.transport is Transport.TCP
    return Snapshot(
        node="edge-1",
        tcp={("10.96.0.1", 80): port} if is_tcp else {},
        tcp_inbound=table if is_tcp else {},
        udp_inbound={} if is_tcp else table,
        tcp_node_ports={8080: port} if is_tcp else {},
        ports={port.key: port, found.key: found},
    )


def facts(destination: tuple[str, int], transport: Transport = Transport.TCP) -> FlowFacts:
    return FlowFacts(transport, ("10.9.0.9", 4000), destination)


def traffic_of(snapshot: Snapshot) -> Traffic:
    made = Traffic(Random(0).random)
    made.swap(snapshot, 0.0)
    return made


@pytest.mark.parametrize("transport", list(Transport))
def test_an_endpoints_own_address_is_found_before_a_node_port(transport: Transport) -> None:
    snapshot = snapshot_of(web(transport=transport))
    found = find_port(snapshot, transport, PLACE)
    assert found is not None
    assert found.inbound
    if transport is Transport.TCP:
        assert (
            find_port(snapshot, transport, ("192.0.2.1", 8080))
            is snapshot.ports["default", "web", "TCP", 80]
        )


def test_an_inbound_flow_goes_to_the_endpoint_that_it_was_for_with_its_clients_address() -> None:
    snapshot = snapshot_of(web())
    traffic = traffic_of(snapshot)
    for verdict in (
        preview(snapshot, facts(PLACE), traffic, 0.0, listener_port=1, attempts=3),
        *(decide(snapshot, facts(PLACE), traffic, 0.0, listener_port=1) for _ in range(3)),
    ):
        assert [state.endpoint.address for state in verdict.candidates] == ["10.0.0.1"]
        assert verdict.source is Source.PRESERVE


def test_inbound_calls_of_an_endpoint_are_counted_apart() -> None:
    port = web()
    (found,) = inbound(port)
    balanced, reached = (endpoint_labels(each, HERE, path="http") for each in (port, found))
    assert reached == f'{balanced},side="server"'


def test_a_broken_endpoint_is_open_to_inbound_calls() -> None:
    port = replace(web(), policy=Policy(server=LIMITS, breaker=Breaker(consecutive_errors=1)))
    snapshot = snapshot_of(port)
    traffic = traffic_of(snapshot)
    upstream = traffic.upstream(port)
    assert upstream is not None
    for state in upstream.states():
        state.probed_healthy = False
    called = facts(("10.96.0.1", 80))
    assert decide(snapshot, called, traffic, 0.0, listener_port=1).refusal is Refusal.BREAKER_OPEN
    assert decide(snapshot, facts(PLACE), traffic, 0.0, listener_port=1).refusal is None


def test_one_bucket_serves_calls_whatever_way_they_came() -> None:
    port = web()
    snapshot = snapshot_of(port)
    traffic = traffic_of(snapshot)
    state = traffic.server(snapshot.tcp_inbound[PLACE])
    assert state is not None
    assert traffic.server(port) is state
    assert list(traffic.servers()) == [state]


def test_an_inbound_port_that_is_gone_is_limited_as_its_service_is_now() -> None:
    port = web()
    old = snapshot_of(port).tcp_inbound[PLACE]
    traffic = traffic_of(snapshot_of(port))
    limited = traffic.server(old)
    assert limited is not None
    free = web(server=ServerLimits())
    traffic.swap(Snapshot(ports={free.key: free}), 1.0)
    assert traffic.server(old) is limited
    assert [limited.admit("", 1.0).refusal for _ in range(99)] == [None] * 99
    traffic.swap(Snapshot(), 2.0)
    assert traffic.server(old) is None
