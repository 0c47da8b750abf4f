"""Whose calls the rules divert: all but those of callers that are listed, or these alone."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Literal, NamedTuple

import pytest
from interception_lab import (
    BACKENDS,
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
    listener,
    nft,
    output,
    refuses,
    send,
    state_of,
)

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import Interception, open_interception
from edgemesh.model.services import InboundAddress, NodePort, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

NODE_PORT = 30080
NOBODY: frozenset[str] = frozenset()
THE_POD = frozenset(POD.values())
MODES = ("tproxy", "redirect")
BOTH = pytest.mark.parametrize("version", VERSIONS)
# Somebody else who translates calls of the Service, as kube-proxy does, and of a node port.
TRANSLATION = f"""
table inet somebody {{
	chain prerouting {{
		type nat hook prerouting priority -99;
		ip daddr {SERVICE[4]} meta l4proto {{ tcp, udp }} dnat ip to {SERVER[4]}
		ip6 daddr {SERVICE[6]} meta l4proto {{ tcp, udp }} dnat ip6 to {SERVER[6]}
		ip daddr {NODE[4]} tcp dport {NODE_PORT} dnat ip to {SERVER[4]}:{PORT}
		ip6 daddr {NODE[6]} tcp dport {NODE_PORT} dnat ip6 to [{SERVER[6]}]:{PORT}
	}}
	chain output {{
		type nat hook output priority -99;
		ip daddr {SERVICE[4]} meta l4proto {{ tcp, udp }} dnat ip to {SERVER[4]}
		ip6 daddr {SERVICE[6]} meta l4proto {{ tcp, udp }} dnat ip6 to {SERVER[6]}
	}}
}}
"""


class Rules(NamedTuple):
    lab: Lab
    interception: Interception
    transparent: bool

    def list_callers(self, callers: frozenset[str]) -> None:
        self.lab.on_node(lambda: self.interception.update((), (), callers=callers))

    def agent(self) -> Agent:
        return Agent(self.lab.node, transparent=self.transparent)


@contextmanager
def rules(
    lab: Lab,
    backend: Literal["nft", "iptables"],
    mode: Literal["tproxy", "redirect"],
    default: Literal["enabled", "disabled"],
) -> Iterator[Rules]:
    settings = NetfilterSettings(backend=backend, mode=mode)
    proxy = ProxySettings(intercept_default=default)
    interception = lab.on_node(lambda: open_interception(settings, proxy, owned=True))
    targets = (*SERVICES, *(NodePort(transport, NODE_PORT) for transport in Transport))
    try:
        lab.on_node(interception.install)
        lab.on_node(lambda: interception.update(targets, ()))
        nft(lab.node, TRANSLATION)
        yield Rules(lab, interception, mode == "tproxy")
    finally:
        lab.on_node(interception.close)


@pytest.fixture(params=[(backend, mode) for backend in BACKENDS for mode in MODES])
def opted_out(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Rules]:
    """Rules that divert everybody's calls but those of callers that are listed."""
    with rules(pod_node_server, *request.param, "enabled") as made:
        yield made


@pytest.fixture(params=[(backend, mode) for backend in BACKENDS for mode in MODES])
def opted_in(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Rules]:
    """Rules that divert the calls of callers that are listed, and nobody else's."""
    with rules(pod_node_server, *request.param, "disabled") as made:
        yield made


def server(lab: Lab, version: int) -> closing[socket.socket]:
    """Takes connections at the server; who accepts them closes them."""
    return closing(listener(lab.server, SERVER[version], PORT))


def is_intercepted(made: Rules, version: int, address: str, port: int = PORT) -> bool:
    """Whether a pod's connection comes to the agent; else it has come to the server."""
    lab = made.lab
    with (
        made.agent() as agent,
        server(lab, version) as listening,
        closing(call(lab.pod, address, port)) as client,
    ):
        # The caller's handshake is over a moment before that of who accepts.
        both = [agent.tcp[version], listening]
        (taker,), _, _ = select.select(both, [], [], PATIENCE_SECONDS)
        if taker is listening:
            with closing(listening.accept()[0]) as connection:
                connection.sendall(b"server")
            assert client.recv(64) == b"server"
            return False
        agent.accept(version)
        assert client.recv(64) == b"agent"
        return True


@BOTH
def test_a_caller_that_is_listed_is_left_alone(opted_out: Rules, version: int) -> None:
    assert is_intercepted(opted_out, version, SERVICE[version])
    opted_out.list_callers(THE_POD)
    assert not is_intercepted(opted_out, version, SERVICE[version])
    assert not is_intercepted(opted_out, version, NODE[version], NODE_PORT)
    opted_out.list_callers(NOBODY)
    assert is_intercepted(opted_out, version, SERVICE[version])
    assert is_intercepted(opted_out, version, NODE[version], NODE_PORT)


@BOTH
def test_only_callers_that_are_listed_are_diverted_where_that_is_the_default(
    opted_in: Rules, version: int
) -> None:
    assert not is_intercepted(opted_in, version, SERVICE[version])
    assert not is_intercepted(opted_in, version, NODE[version], NODE_PORT)
    opted_in.list_callers(THE_POD)
    assert is_intercepted(opted_in, version, SERVICE[version])
    assert is_intercepted(opted_in, version, NODE[version], NODE_PORT)
    opted_in.list_callers(NOBODY)
    assert not is_intercepted(opted_in, version, SERVICE[version])


@BOTH
def test_datagrams_of_a_caller_that_is_listed_are_left_alone(
    opted_out: Rules, version: int
) -> None:
    lab = opted_out.lab
    opted_out.list_callers(THE_POD)
    with opted_out.agent() as agent, closing(_datagrams(lab, version)) as endpoint:
        with closing(send(lab.pod, SERVICE[version], b"mine")):
            assert endpoint.recv(64) == b"mine"
        opted_out.list_callers(NOBODY)
        with closing(send(lab.pod, SERVICE[version], b"yours")):
            agent.receive(version)


def test_the_nodes_own_calls_are_left_alone_where_only_listed_ones_are_diverted(
    opted_in: Rules,
) -> None:
    version = 4
    lab = opted_in.lab
    opted_in.list_callers(THE_POD)
    with opted_in.agent(), server(lab, version) as listening:
        # The node has no route to a Service by itself.
        output(lab.node, ["ip", f"-{version}", "route", "add", SERVICE[version], "dev", "veth2"])
        with closing(call(lab.node, SERVICE[version])), closing(listening.accept()[0]):
            pass


def test_the_nodes_own_calls_are_diverted_where_pods_opt_out(opted_out: Rules) -> None:
    version = 4
    opted_out.list_callers(THE_POD)
    with opted_out.agent() as agent:
        client = call(opted_out.lab.node, SERVICE[version])
        agent.accept(version)
        assert greeting(client) == b"agent"


def test_connections_that_the_agent_has_go_on_when_their_caller_is_left_alone(
    opted_out: Rules,
) -> None:
    version = 4
    with opted_out.agent() as agent, closing(call(opted_out.lab.pod, SERVICE[version])) as client:
        connection, _ = agent.tcp[version].accept()
        with closing(connection):
            opted_out.list_callers(THE_POD)
            _talk(client, connection)


@BOTH
def test_connections_that_somebody_else_has_go_on_when_their_caller_is_diverted_again(
    opted_out: Rules, version: int
) -> None:
    opted_out.list_callers(THE_POD)
    with opted_out.agent(), _passing_by(opted_out, version) as (client, connection):
        opted_out.list_callers(NOBODY)
        _talk(client, connection)


@BOTH
def test_connections_that_somebody_else_has_go_on_when_their_caller_opts_in(
    opted_in: Rules, version: int
) -> None:
    with opted_in.agent() as agent, _passing_by(opted_in, version) as (client, connection):
        opted_in.list_callers(THE_POD)
        _talk(client, connection)
        with closing(call(opted_in.lab.pod, SERVICE[version])):
            agent.accept(version)


def test_connections_that_the_agent_has_go_on_when_their_caller_opts_out_again(
    opted_in: Rules,
) -> None:
    version = 4
    opted_in.list_callers(THE_POD)
    with opted_in.agent() as agent, closing(call(opted_in.lab.pod, SERVICE[version])) as client:
        connection, _ = agent.tcp[version].accept()
        with closing(connection):
            opted_in.list_callers(NOBODY)
            _talk(client, connection)


def test_limits_of_an_endpoint_hold_for_callers_that_are_left_alone(opted_out: Rules) -> None:
    version = 4
    endpoint = InboundAddress(SERVER[version], Transport.TCP, PORT)
    lab, interception = opted_out.lab, opted_out.interception
    lab.on_node(lambda: interception.update((endpoint,), (), callers=THE_POD))
    assert is_intercepted(opted_out, version, SERVER[version])


def test_rules_that_were_taken_away_come_back_with_those_who_are_listed(
    opted_out: Rules,
) -> None:
    lab = opted_out.lab
    opted_out.list_callers(THE_POD)
    script = (
        "nft flush ruleset; iptables -t mangle -F PREROUTING; iptables -t nat -F PREROUTING; true"
    )
    output(lab.node, ["sh", "-c", script])
    lab.on_node(opted_out.interception.install)
    nft(lab.node, TRANSLATION)
    assert not is_intercepted(opted_out, 4, SERVICE[4])


def test_who_was_listed_by_an_earlier_agent_is_so_no_more(pod_node_server: Lab) -> None:
    lab = pod_node_server
    before = state_of(lab.node)
    settings = NetfilterSettings(fail="closed")
    first, second = (
        lab.on_node(lambda: open_interception(settings, ProxySettings(), owned=True))
        for _ in range(2)
    )
    for interception, callers in ((first, THE_POD), (second, NOBODY)):
        lab.on_node(interception.install)
        lab.on_node(lambda i=interception, c=callers: i.update(SERVICES, (), callers=c))
    with Agent(lab.node) as agent, closing(call(lab.pod, SERVICE[4])):
        agent.accept(4)
    lab.on_node(second.remove)
    assert state_of(lab.node) == before


def test_without_anybody_else_a_caller_that_is_left_alone_reaches_nobody(
    pod_node_server: Lab,
) -> None:
    lab = pod_node_server
    with rules(lab, "nft", "tproxy", "enabled") as made, made.agent():
        output(lab.node, ["nft", "delete", "table", "inet", "somebody"])
        made.list_callers(THE_POD)
        with pytest.raises(OSError, match=r"unreachable|No route|timed out"):
            assert not refuses(lab.pod, SERVICE[4])


@contextmanager
def _passing_by(made: Rules, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection past the agent: the pod's end and the server's."""
    with ExitStack() as stack:
        listening = stack.enter_context(server(made.lab, version))
        client = stack.enter_context(closing(call(made.lab.pod, SERVICE[version])))
        connection = stack.enter_context(closing(listening.accept()[0]))
        yield client, connection


def _talk(client: socket.socket, other: socket.socket) -> None:
    other.settimeout(PATIENCE_SECONDS)
    client.sendall(b"still here")
    assert other.recv(64) == b"still here"
    other.sendall(b"so am I")
    assert client.recv(64) == b"so am I"


def _datagrams(lab: Lab, version: int) -> socket.socket:
    def bind() -> socket.socket:
        sock = socket.socket(sockets.family_of(SERVER[version]), socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind((SERVER[version], PORT))
        return sock

    return inside(lab.server, bind)
