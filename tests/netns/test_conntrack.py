"""Datagrams that REDIRECT led to us keep their original destination in connection tracking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from interception_lab import NODE, POD, PORT, SERVICE, Agent, Lab, greeting, installed, send

from edgemesh.kernel.conntrack import Conntrack
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root


@pytest.fixture(params=["nft", "iptables"])
def redirecting(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Lab]:
    settings = NetfilterSettings(backend=request.param, mode="redirect")
    with installed(pod_node_server, settings):
        yield pod_node_server


@pytest.mark.parametrize("caller", ["pod", "node"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_redirected_datagram_is_traced_to_its_service_and_answered_from_there(
    redirecting: Lab, version: int, caller: str
) -> None:
    with (
        Agent(redirecting.node, transparent=False) as agent,
        redirecting.on_node(Conntrack) as conntrack,
    ):
        client = send(getattr(redirecting, caller), SERVICE[version])
        received_at, source = agent.receive(version)
        destination = conntrack.original_destination_udp(source, received_at)
        assert destination == (SERVICE[version], PORT)
        agent.answer(version, b"pong", received_at, source)
        assert greeting(client) == b"pong"


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_to_the_agents_own_port_has_that_as_its_destination(
    redirecting: Lab, version: int
) -> None:
    with (
        Agent(redirecting.node, transparent=False) as agent,
        redirecting.on_node(Conntrack) as conntrack,
        closing(send(redirecting.pod, NODE[version], port=15002)),
    ):
        received_at, source = agent.receive(version)
        destination = conntrack.original_destination_udp(source, received_at)
        assert destination == (NODE[version], 15002)


@pytest.mark.parametrize("version", [4, 6])
def test_an_unknown_flow_has_no_destination(pod_node_server: Lab, version: int) -> None:
    with pod_node_server.on_node(Conntrack) as conntrack:
        client, received_at = (POD[version], 1234), (NODE[version], 15002)
        assert conntrack.original_destination_udp(client, received_at) is None
