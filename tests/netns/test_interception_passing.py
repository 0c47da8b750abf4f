"""Packets that are none of our business leave our chain at once, and no others do."""

from __future__ import annotations

import fcntl
import re
import socket
import sys
import termios
from collections.abc import Collection, Iterator
from contextlib import closing

import pytest
from interception_lab import (
    NODE,
    PATIENCE_SECONDS,
    POD,
    PORT,
    SERVER,
    SERVICE,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    inside,
    install,
    installed,
    listener,
    nft,
    output,
    send,
)
from lab_homes import wait_for

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import HeldConnection, Interception, Target
from edgemesh.kernel.shipped import shipped
from edgemesh.lab.network import set_sysctl
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

KINDS = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
BOTH = pytest.mark.parametrize("version", VERSIONS)
LAST_EXIT = "ip6 daddr != @ours6 th dport != @our_ports accept\n"
OURS = {4: "ours4", 6: "ours6"}
NODE_PORT = 30080
FOR_GOOD = 0
MINUTE, DAY = 60, 86400


@pytest.fixture
def idle(pod_node_server: Lab) -> Iterator[Interception]:
    """Rules on the node that divert nothing yet."""
    with installed(pod_node_server, NetfilterSettings(), ()) as interception:
        yield interception


def change(
    lab: Lab,
    interception: Interception,
    added: Collection[Target] = (),
    removed: Collection[Target] = (),
    held: Collection[HeldConnection] = (),
) -> None:
    lab.on_node(lambda: interception.update(added, removed, held))


def remaining(lab: Lab, name: str) -> dict[str, int]:
    """The elements of a set, and how many seconds each will be there, or `FOR_GOOD`."""
    listed = output(lab.node, ["nft", "list", "set", "inet", "edgemesh", name])
    elements = listed.partition("elements = {")[2].partition("}")[0].split(",")
    return {each.split()[0]: seconds(each.split()[-1]) for each in elements if each.strip()}


def seconds(span: str) -> int:
    """Of "23h59m59s996ms"; 0 of what is no span of time."""
    units = {"d": DAY, "h": 3600, "m": MINUTE, "s": 1}
    parts = re.findall(r"(\d+)([dhms])(?=\d|$)", span)
    return sum(int(number) * units[unit] for number, unit in parts)


def service(version: int, port: int = PORT) -> ServiceAddress:
    return ServiceAddress(SERVICE[version], Transport.TCP, port)


def endpoint(lab: Lab, version: int, kind: socket.SocketKind) -> socket.socket:
    def bind() -> socket.socket:
        sock = socket.socket(sockets.family_of(SERVER[version]), kind)
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind((SERVER[version], PORT))
        return sock

    if kind is socket.SOCK_STREAM:
        return listener(lab.server, SERVER[version], PORT)
    return inside(lab.server, bind)


def agents_call(
    lab: Lab, version: int, kind: socket.SocketKind, source: str | None
) -> socket.socket:
    """The agent's socket that has called the endpoint, from a borrowed address or its own.

    Of a connection, what it has said is acknowledged: nothing more is under way.
    """

    def dial() -> socket.socket:
        sock = sockets.dialling_socket(SERVER[version], kind, 0x46, source)
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((SERVER[version], PORT))
        sock.send(b"ping")
        return sock

    made = lab.on_node(dial)
    if kind is socket.SOCK_STREAM:
        wait_for(lambda: unacknowledged_bytes(made) == 0, "what was said is acknowledged")
    return made


def unacknowledged_bytes(sock: socket.socket) -> int:
    """Of what was sent (tcp(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def greet(server: socket.socket) -> socket.socket:
    """Answer the one that has called an endpoint; returns the socket that did."""
    connection = server.accept()[0] if server.type is socket.SOCK_STREAM else server.dup()
    _, client = connection.recvfrom(64)
    connection.sendto(b"endpoint", client or connection.getpeername())
    return connection


@KINDS
@BOTH
def test_what_is_for_others_does_not_get_beyond_the_first_rule_of_its_family(
    pod_node_server: Lab, version: int, kind: socket.SocketKind
) -> None:
    lab = pod_node_server
    rules = shipped("netfilter", "tproxy.nft").read_text()
    assert rules.count(LAST_EXIT) == 1
    nft(lab.node, rules.replace(LAST_EXIT, f"{LAST_EXIT}\t\tcounter\n"))
    nft(lab.node, f"add element inet edgemesh {OURS[version]} {{ {SERVICE[version]} }}")

    def beyond() -> int:
        listed = output(lab.node, ["nft", "list", "chain", "inet", "edgemesh", "prerouting"])
        (packets,) = re.findall(r"counter packets (\d+)", listed)
        return int(packets)

    dial = call if kind is socket.SOCK_STREAM else send
    with (
        closing(endpoint(lab, version, kind)) as server,
        closing(dial(lab.pod, SERVER[version])) as client,
    ):
        client.send(b"ping")
        greet(server).close()
        assert client.recv(64) == b"endpoint"
    assert beyond() == 0
    send(lab.pod, SERVICE[version]).close()
    wait_for(lambda: beyond() > 0, "what is for the Service has arrived")
    assert beyond() == 1


@BOTH
def test_an_address_is_looked_at_until_its_last_reason_is_gone_and_a_minute_more(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    lab, address = pod_node_server, SERVICE[version]
    inbound = InboundAddress(address, Transport.TCP, PORT)
    held = HeldConnection((POD[version], 4711), (address, PORT))
    change(lab, idle, [service(version), service(version, 81), inbound])
    for removed, holding in (
        ([service(version)], []),
        ([service(version, 81)], [held]),
        ([inbound], [held]),
    ):
        change(lab, idle, (), removed, holding)
        assert remaining(lab, OURS[version]) == {address: FOR_GOOD}
    change(lab, idle)
    assert 0 < remaining(lab, OURS[version])[address] <= MINUTE


@BOTH
def test_a_service_is_intercepted_at_one_port_when_its_other_port_goes(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    lab = pod_node_server
    change(lab, idle, [service(version), service(version, 81)])
    change(lab, idle, (), [service(version, 81)])
    with Agent(lab.node) as agent:
        client = call(lab.pod, SERVICE[version])
        assert agent.accept(version)[0] == (SERVICE[version], PORT)
        assert greeting(client) == b"agent"


@BOTH
def test_a_connection_that_is_held_too_late_goes_on(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    lab = pod_node_server
    # Or the kernel would know the connection's packets before it looks for their route.
    set_sysctl(lab.node, "net.ipv4.ip_early_demux", 0)
    change(lab, idle, [service(version)])
    with (
        Agent(lab.node) as agent,
        closing(call(lab.pod, SERVICE[version])) as client,
        closing(agent.tcp[version].accept()[0]) as connection,
    ):
        connection.settimeout(PATIENCE_SECONDS)
        change(lab, idle, (), [service(version)])
        client.sendall(b"still here")
        assert connection.recv(64) == b"still here"


@BOTH
def test_an_address_that_comes_back_while_it_lingers_stays_for_good(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    lab = pod_node_server
    change(lab, idle, [service(version)])
    change(lab, idle, (), [service(version)])
    change(lab, idle, [service(version, 81)])
    assert remaining(lab, OURS[version]) == {SERVICE[version]: FOR_GOOD}


@BOTH
def test_rules_that_others_have_taken_away_come_back_with_the_addresses_of_held_connections(
    pod_node_server: Lab, version: int
) -> None:
    lab = pod_node_server
    interception = install(lab, NetfilterSettings(fail="closed"), ())
    held = HeldConnection((POD[version], 4711), (SERVICE[version], PORT))
    change(lab, interception, (), (), [held])
    output(lab.node, ["nft", "delete", "table", "inet", "edgemesh"])
    lab.on_node(interception.install)
    assert remaining(lab, OURS[version]) == {SERVICE[version]: FOR_GOOD}


@BOTH
def test_a_later_process_knows_which_reasons_there_are(pod_node_server: Lab, version: int) -> None:
    lab = pod_node_server
    install(lab, NetfilterSettings(), [service(version), service(version, 81)], owned=False)
    later = install(lab, NetfilterSettings(), (), owned=False)
    change(lab, later, (), [service(version)])
    assert remaining(lab, OURS[version]) == {SERVICE[version]: FOR_GOOD}
    change(lab, later, (), [service(version, 81)])
    assert 0 < remaining(lab, OURS[version])[SERVICE[version]] <= MINUTE


@KINDS
@BOTH
def test_a_port_that_the_agent_calls_from_with_a_borrowed_address_is_looked_at_for_a_day(
    idle: Interception, pod_node_server: Lab, version: int, kind: socket.SocketKind
) -> None:
    lab = pod_node_server
    with (
        closing(endpoint(lab, version, kind)) as server,
        closing(agents_call(lab, version, kind, POD[version])) as upstream,
    ):
        greet(server).close()
        assert upstream.recv(64) == b"endpoint"
        ((port, seconds),) = remaining(lab, "our_ports").items()
        assert int(port) == upstream.getsockname()[1]
        assert DAY - MINUTE < seconds <= DAY


@BOTH
def test_a_connection_on_which_only_the_endpoint_speaks_keeps_its_way_back(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    lab, kind = pod_node_server, socket.SOCK_STREAM
    with (
        closing(endpoint(lab, version, kind)) as server,
        closing(agents_call(lab, version, kind, POD[version])) as upstream,
        closing(greet(server)) as connection,
    ):
        assert upstream.recv(64) == b"endpoint"
        port = f"inet edgemesh our_ports {{ {upstream.getsockname()[1]} "
        owner = idle._context  # type: ignore[attr-defined] - nobody else may change its table
        status, _, error = owner.run(f"delete element {port}}}; add element {port} timeout 9m }}")
        assert status == 0, error
        assert max(remaining(lab, "our_ports").values()) <= 9 * MINUTE
        connection.sendall(b"more")
        assert upstream.recv(64) == b"more"
        assert min(remaining(lab, "our_ports").values()) > DAY - MINUTE


@KINDS
@BOTH
def test_calls_from_the_agents_own_address_and_its_answers_put_no_port_there(
    idle: Interception, pod_node_server: Lab, version: int, kind: socket.SocketKind
) -> None:
    lab = pod_node_server
    change(lab, idle, [service(version)])
    with (
        Agent(lab.node) as agent,
        closing(endpoint(lab, version, kind)) as server,
        closing(agents_call(lab, version, kind, None)) as upstream,
    ):
        greet(server).close()
        assert upstream.recv(64) == b"endpoint"
        client = call(lab.pod, SERVICE[version])
        agent.accept(version)
        assert greeting(client) == b"agent"
    assert remaining(lab, "our_ports") == {}


@KINDS
@BOTH
def test_an_endpoint_that_speaks_after_the_rules_were_put_right_still_reaches_the_agent(
    pod_node_server: Lab, version: int, kind: socket.SocketKind
) -> None:
    lab = pod_node_server
    interception = install(lab, NetfilterSettings(fail="closed"), [NodePort(Transport.TCP, 443)])
    with (
        closing(endpoint(lab, version, kind)) as server,
        closing(agents_call(lab, version, kind, POD[version])) as upstream,
    ):
        output(lab.node, ["nft", "delete", "table", "inet", "edgemesh"])
        lab.on_node(interception.install)
        change(lab, interception, [NodePort(Transport.TCP, 443)])
        greet(server).close()
        assert upstream.recv(64) == b"endpoint"
    assert remaining(lab, "our_ports")["443"] == FOR_GOOD


def test_a_node_port_shared_by_transports_is_looked_at_until_both_are_gone_and_a_day_more(
    idle: Interception, pod_node_server: Lab
) -> None:
    lab = pod_node_server
    tcp, udp = (NodePort(transport, NODE_PORT) for transport in Transport)
    change(lab, idle, [tcp, udp])
    change(lab, idle, (), [tcp])
    assert remaining(lab, "our_ports") == {str(NODE_PORT): FOR_GOOD}
    change(lab, idle, (), [udp])
    assert DAY - MINUTE < remaining(lab, "our_ports")[str(NODE_PORT)] <= DAY


@pytest.mark.parametrize("caller", ["pod", "node"])
@BOTH
def test_a_node_port_whose_number_the_agent_has_called_from_stays_for_good(
    idle: Interception, pod_node_server: Lab, version: int, caller: str
) -> None:
    lab, kind = pod_node_server, socket.SOCK_DGRAM
    with (
        closing(endpoint(lab, version, kind)) as server,
        closing(agents_call(lab, version, kind, POD[version])) as upstream,
    ):
        number = upstream.getsockname()[1]
        change(lab, idle, [NodePort(Transport.TCP, number)])
        greet(server).close()
        assert upstream.recv(64) == b"endpoint"
        upstream.send(b"again")
        assert remaining(lab, "our_ports") == {str(number): FOR_GOOD}
        with Agent(lab.node) as agent:
            client = call(getattr(lab, caller), NODE[version], number)
            assert agent.accept(version)[0] == (NODE[version], number)
            assert greeting(client) == b"agent"
