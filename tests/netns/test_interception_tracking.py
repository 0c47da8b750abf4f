"""TPROXY by nftables needs no connection tracking, and what it diverts is not tracked by others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Literal

import pytest
from interception_lab import (
    NODE,
    PATIENCE_SECONDS,
    POD,
    PORT,
    SERVER,
    SERVICE,
    SERVICES,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    inside,
    installed,
    listener,
    nft,
    output,
    send,
)
from lab_homes import wait_for

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import HeldConnection, Interception
from edgemesh.model.services import InboundAddress, NodePort, Transport
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

CALLERS = ("pod", "node")
NODE_PORT = 30080
TARGETS = (
    *SERVICES,
    *(NodePort(transport, NODE_PORT) for transport in Transport),
    *(
        InboundAddress(address, transport, 81)
        for address in SERVER.values()
        for transport in Transport
    ),
)

# Has the namespace's connections tracked, and leads the Service's to a server like kube-proxy.
TRANSLATION = "".join(
    f"""
table {family} translation {{
    chain destination {{
        {family} daddr {SERVICE[version]} dnat to {SERVER[version]}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump destination
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        jump destination
    }}
}}
"""
    for version, family in ((4, "ip"), (6, "ip6"))
)


@pytest.fixture
def diverted(pod_node_server: Lab) -> Iterator[Interception]:
    with installed(pod_node_server, NetfilterSettings(), TARGETS) as interception:
        yield interception


def tracked(lab: Lab) -> list[str]:
    """What connection tracking knows of the node's connections, one line each."""
    return [
        line
        for family in ("ipv4", "ipv6")
        for line in output(lab.node, ["conntrack", "-L", "-f", family]).splitlines()
        if "icmpv6" not in line
    ]


def called(caller: str, version: int) -> list[tuple[str, int]]:
    places = [(SERVICE[version], PORT), (NODE[version], NODE_PORT)]
    return places if caller == "node" else [*places, (SERVER[version], 81)]


def make_calls(lab: Lab, version: int) -> None:
    """Every kind of call that is diverted, answered by the agent, by TCP and by UDP."""
    with Agent(lab.node) as agent:
        for caller in CALLERS:
            for address, port in called(caller, version):
                client = call(getattr(lab, caller), address, port)
                assert agent.accept(version)[0] == (address, port)
                assert greeting(client) == b"agent"
                client = send(getattr(lab, caller), address, port=port)
                destination, source = agent.receive(version)
                assert destination == (address, port)
                answer = lab.on_node(lambda d=destination: sockets.answering_socket(d, 0x46))
                with closing(answer):
                    answer.sendto(b"pong", source)
                    assert greeting(client) == b"pong"


def end_in_order(lab: Lab, version: int) -> None:
    """The agent ends a connection first, and the kernel answers the client's FIN without it."""
    with Agent(lab.node) as agent:
        client = call(lab.pod, SERVICE[version])
        connection, _ = agent.tcp[version].accept()
        sockets.fin_on_close(connection)
        connection.close()
        with closing(client):
            assert client.recv(1) == b""
            port = client.getsockname()[1]
        waiting = ["ss", "-Htan", "state", "time-wait", f"dport = :{port}"]
        wait_for(lambda: output(lab.node, waiting) != "", "the FIN is there")


def call_endpoint(lab: Lab, version: int) -> None:
    """As the agent does, and as a pod does past the agent."""
    with closing(listener(lab.server, SERVER[version], PORT)) as endpoint:
        for caller, mark in ((lab.node, 0x46), (lab.pod, 0)):
            call(caller, SERVER[version], mark=mark).close()
            endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_our_rules_alone_have_no_connection_tracked(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    make_calls(pod_node_server, version)
    call_endpoint(pod_node_server, version)
    assert tracked(pod_node_server) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_beside_rules_that_track_what_is_diverted_is_not_and_the_agents_calls_are(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    nft(pod_node_server.node, TRANSLATION)
    make_calls(pod_node_server, version)
    end_in_order(pod_node_server, version)
    assert tracked(pod_node_server) == []
    call_endpoint(pod_node_server, version)
    assert len(tracked(pod_node_server)) == len(CALLERS)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_held_connection_goes_on_when_its_service_is_removed_and_new_ones_pass_by(
    diverted: Interception, pod_node_server: Lab, version: int, caller: str
) -> None:
    lab = pod_node_server
    nft(lab.node, TRANSLATION)
    namespace = getattr(lab, caller)
    with (
        ExitStack() as opened,
        Agent(lab.node) as agent,
        closing(listener(lab.server, SERVER[version], PORT)) as endpoint,
    ):
        client = opened.enter_context(closing(call(namespace, SERVICE[version])))
        connection, address = agent.tcp[version].accept()
        connection.settimeout(PATIENCE_SECONDS)
        opened.enter_context(closing(connection))
        held = HeldConnection(address[:2], (SERVICE[version], PORT))
        lab.on_node(lambda: diverted.update((), SERVICES, [held]))
        client.sendall(b"still here")
        assert connection.recv(64) == b"still here"
        connection.sendall(b"agent")
        assert client.recv(64) == b"agent"
        call(namespace, SERVICE[version]).close()
        endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_held_connections_leave_the_kernel_when_they_are_held_no_more(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    held = HeldConnection((POD[version], 4711), (SERVICE[version], PORT))

    def shown() -> bool:
        return "4711" in output(pod_node_server.node, ["nft", "list", "table", "inet", "edgemesh"])

    pod_node_server.on_node(lambda: diverted.update((), (), [held]))
    assert shown()
    pod_node_server.on_node(lambda: diverted.update((), ()))
    assert not shown()


@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_to_a_connection_of_the_node_from_a_port_like_a_node_port_reach_it(
    pod_node_server: Lab, version: int, fail: Literal["open", "closed"]
) -> None:
    lab = pod_node_server

    def dial() -> socket.socket:
        source = "10.2.0.1" if version == 4 else "fd02::1"
        return socket.create_connection(
            (SERVER[version], PORT), PATIENCE_SECONDS, (source, NODE_PORT)
        )

    with (
        installed(lab, NetfilterSettings(fail=fail), TARGETS),
        Agent(lab.node),
        closing(listener(lab.server, SERVER[version], PORT)) as endpoint,
    ):
        client = inside(lab.node, dial)
        connection, _ = endpoint.accept()
        with closing(connection):
            connection.sendall(b"endpoint")
            assert greeting(client) == b"endpoint"
