"""Datagrams go to an endpoint and their answers come from the Service, connected or not."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import replace

import pytest
from connect_lab import PATIENCE_SECONDS, PORT, SERVICE, UDP, ConnectLab, called_at, mapped

pytestmark = pytest.mark.root
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def answer(server: socket.socket) -> None:
    """Send the next datagram back to where it came from."""
    data, source = server.recvfrom(100)
    server.sendto(data, source)


def answering(servers: list[socket.socket]) -> socket.socket:
    """The one that has a datagram; it is taken."""
    with selectors.DefaultSelector() as waiting:
        for server in servers:
            waiting.register(server, selectors.EVENT_READ)
        ready = waiting.select(PATIENCE_SECONDS)
    assert ready, "no datagram arrived"
    server = ready[0][0].fileobj
    assert isinstance(server, socket.socket)
    server.recv(100)
    return server


@VERSIONS
def test_a_connected_socket_talks_with_the_endpoint_and_knows_the_service(
    connect_lab: ConnectLab, version: int
) -> None:
    server = connect_lab.server(version, UDP)
    connect_lab.put([server])
    caller = connect_lab.call(version, UDP)
    caller.send(b"question")
    answer(server)
    data, source = caller.recvfrom(100)
    assert (data, source[:2]) == (b"question", (SERVICE[version], PORT))
    assert caller.getpeername()[:2] == (SERVICE[version], PORT)


@VERSIONS
def test_an_unconnected_socket_gets_its_answer_from_the_service(
    connect_lab: ConnectLab, version: int
) -> None:
    server = connect_lab.server(version, UDP)
    connect_lab.put([server])
    caller = connect_lab.caller(version, UDP)
    caller.sendto(b"question", (SERVICE[version], PORT))
    answer(server)
    data, source = caller.recvfrom(100)
    assert (data, source[:2]) == (b"question", (SERVICE[version], PORT))


@pytest.mark.parametrize("connected", [True, False])
def test_an_ipv6_socket_talks_with_the_ipv4_address(
    connect_lab: ConnectLab, connected: bool
) -> None:
    server = connect_lab.server(4, UDP)
    connect_lab.put([server])
    if connected:
        caller = connect_lab.call_mapped(UDP)
        caller.send(b"question")
    else:
        caller = connect_lab.caller(6, UDP)
        caller.sendto(b"question", (mapped(4), PORT))
    answer(server)
    data, source = caller.recvfrom(100)
    assert (data, source[:2]) == (b"question", (mapped(4), PORT))


def test_datagrams_of_a_socket_stay_with_their_endpoint(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server(kind=UDP) for _ in range(3)]
    port = connect_lab.put(servers)
    caller = connect_lab.caller(kind=UDP)
    chosen = set()
    for _ in range(6):
        caller.sendto(b"question", (SERVICE[4], PORT))
        chosen.add(answering(servers))
    assert len(chosen) == 1
    assert connect_lab.maps.port_counts(port.id).passed == 1


def test_each_socket_has_an_endpoint_of_its_own(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server(kind=UDP) for _ in range(3)]
    connect_lab.put(servers)
    chosen = set()
    for _ in range(3):
        connect_lab.caller(kind=UDP).sendto(b"question", (SERVICE[4], PORT))
        chosen.add(answering(servers))
    assert len(chosen) == 3


def test_a_socket_that_was_silent_gets_another_endpoint(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server(kind=UDP) for _ in range(2)]
    connect_lab.put(servers)
    caller = connect_lab.caller(kind=UDP)
    caller.sendto(b"question", (SERVICE[4], PORT))
    first = answering(servers)
    datagrams = connect_lab.map("datagrams")
    ((conversation, route),) = datagrams.items()
    datagrams.update(conversation, bytes(8) + route[8:])
    caller.sendto(b"question", (SERVICE[4], PORT))
    assert answering(servers) is not first


@pytest.mark.parametrize("removed_for_good", [True, False])
def test_a_socket_whose_endpoint_is_gone_gets_another(
    connect_lab: ConnectLab, removed_for_good: bool
) -> None:
    servers = [connect_lab.server(kind=UDP) for _ in range(2)]
    port = connect_lab.put(servers)
    caller = connect_lab.caller(kind=UDP)
    caller.sendto(b"question", (SERVICE[4], PORT))
    gone = servers.index(answering(servers))
    connect_lab.maps.put(replace(port, four=(port.four[1 - gone],)))
    if removed_for_good:
        connect_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    caller.sendto(b"question", (SERVICE[4], PORT))
    assert answering(servers) is servers[1 - gone]


def test_an_endpoint_that_comes_back_at_once_is_chosen_again(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server(kind=UDP) for _ in range(2)]
    port = connect_lab.put(servers)
    connect_lab.maps.put(replace(port, four=port.four[:1]))
    connect_lab.maps.put(port)
    connect_lab.maps.expire(time.monotonic() + PATIENCE_SECONDS)
    for _ in range(2):
        connect_lab.caller(kind=UDP).sendto(b"question", (SERVICE[4], PORT))
    assert {answering(servers), answering(servers)} == set(servers)


def test_one_socket_keeps_the_services_that_it_talks_with_apart(connect_lab: ConnectLab) -> None:
    first, second = connect_lab.server(kind=UDP), connect_lab.server(kind=UDP)
    connect_lab.put([first])
    connect_lab.put([second], addresses=called_at(81))
    caller = connect_lab.caller(kind=UDP)
    caller.sendto(b"one", (SERVICE[4], PORT))
    caller.sendto(b"two", (SERVICE[4], 81))
    answer(first)
    assert caller.recvfrom(100) == (b"one", (SERVICE[4], PORT))
    answer(second)
    assert caller.recvfrom(100) == (b"two", (SERVICE[4], 81))


def test_of_two_services_with_one_endpoint_the_one_that_was_called_last_answers(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server(kind=UDP)
    connect_lab.put([server])
    connect_lab.put([server], addresses=called_at(81))
    caller = connect_lab.caller(kind=UDP)
    for port in (PORT, 81, PORT):
        caller.sendto(b"question", (SERVICE[4], port))
        answer(server)
        assert caller.recvfrom(100) == (b"question", (SERVICE[4], port))


def test_an_answer_is_the_services_however_many_conversations_there_were(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server(kind=UDP)
    connect_lab.put([server])
    caller = connect_lab.caller(kind=UDP)
    caller.sendto(b"question", (SERVICE[4], PORT))
    answers = connect_lab.map("answers")
    answers.clear()
    caller.sendto(b"question", (SERVICE[4], PORT))
    answer(server)
    assert caller.recvfrom(100) == (b"question", (SERVICE[4], PORT))


def test_a_datagram_of_somebody_else_comes_from_there(connect_lab: ConnectLab) -> None:
    server, other = connect_lab.server(kind=UDP), connect_lab.server(kind=UDP)
    connect_lab.put([server])
    caller = connect_lab.caller(kind=UDP)
    caller.bind(("127.0.0.1", 0))
    caller.sendto(b"question", (SERVICE[4], PORT))
    other.sendto(b"surprise", caller.getsockname())
    assert caller.recvfrom(100) == (b"surprise", other.getsockname())
