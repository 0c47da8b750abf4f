"""NodePort Services that no cluster gives a node port get one that every node computes alike."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, service

from edgemesh.model.errors import OperatorError
from edgemesh.model.services import NodePort, Transport
from edgemesh.policy.node_ports import allocate_node_port, fill_node_ports

NUMBERS = range(30000, 32768)
TCP_80 = NodePort(Transport.TCP, 80)
DNS = [
    {"name": "tcp", "port": 53},
    {"name": "udp", "port": 53, "protocol": "UDP"},
]


def node_ports(
    taken: Container[NodePort] = (), previous: Body | None = None, **spec: Any
) -> list[int | None]:
    body = service(**{"type": "NodePort", **spec})
    found = fill_node_ports(body, NUMBERS, taken, previous)
    return [port.get("nodePort") for port in found["spec"]["ports"]]


@given(st.text(max_size=5), st.text(max_size=5), st.integers(1, 65535))
def test_a_node_port_is_in_the_range_and_always_the_same(
    namespace: str, name: str, port: int
) -> None:
    own = NodePort(Transport.TCP, port)
    number = allocate_node_port(namespace, name, own, NUMBERS, set())
    assert number in NUMBERS
    assert number == allocate_node_port(namespace, name, own, NUMBERS, set())


def test_node_ports_are_taken_until_none_is_free() -> None:
    taken: set[NodePort] = set()
    for number in range(4):
        found = allocate_node_port("default", f"web-{number}", TCP_80, range(30000, 30004), taken)
        taken.add(NodePort(Transport.TCP, found))
    assert {port.port for port in taken} == {30000, 30001, 30002, 30003}
    with pytest.raises(OperatorError, match=r"no TCP node port is free from 30000 to 30003$"):
        allocate_node_port("default", "web", TCP_80, range(30000, 30004), taken)


def test_tcp_and_udp_of_one_number_share_a_node_port() -> None:
    first, second = node_ports(ports=DNS)
    assert first == second is not None


def test_ports_of_one_service_do_not_collide() -> None:
    ports = [{"name": f"p{number}", "port": number} for number in range(1, 200)]
    body = service(type="NodePort", ports=ports)
    found = fill_node_ports(body, range(30000, 30199), set())["spec"]["ports"]
    assert {port["nodePort"] for port in found} == set(range(30000, 30199))


def test_a_node_port_that_is_named_stays_and_is_not_given_again() -> None:
    [alone] = node_ports(ports=[{"name": "b", "port": 81}])
    named = [{"name": "a", "port": 80, "nodePort": alone}, {"name": "b", "port": 81}]
    first, second = node_ports(ports=named)
    assert first == alone
    assert second != alone


def test_a_node_port_that_another_has_is_refused() -> None:
    taken = {NodePort(Transport.TCP, 30080)}
    with pytest.raises(OperatorError, match=r"^Service default/web: node port 30080 is another"):
        node_ports(taken, ports=[{"port": 80, "nodePort": 30080}])
    assert node_ports(taken, ports=[{"port": 80, "protocol": "UDP", "nodePort": 30080}]) == [30080]


def test_a_service_keeps_the_node_ports_it_had() -> None:
    previous = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    assert node_ports(previous=previous) == [30080]
    assert node_ports(previous=previous, ports=[{"port": 80, "nodePort": 30081}]) == [30081]
    assert node_ports({NodePort(Transport.TCP, 30080)}, previous) == node_ports()


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "ClusterIP"},
        {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
        {"ports": [{"port": 80, "protocol": "SCTP"}]},
    ],
)
def test_where_no_node_port_is_due_none_is_given(spec: Body) -> None:
    assert node_ports(**spec) == [None]


def test_a_load_balancer_gets_node_ports() -> None:
    assert node_ports(type="LoadBalancer") == node_ports()
