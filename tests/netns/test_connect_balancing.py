"""Connections are balanced when they are asked for, and the callers notice nothing."""

from __future__ import annotations

import errno
import socket

import pytest
from connect_lab import (
    PORT,
    SERVICE,
    TCP,
    UDP,
    ConnectLab,
    Programs,
    accepted,
    called_at,
    made_namespace,
    mapped,
)
from socket_maker import SocketMaker

pytestmark = pytest.mark.root
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def test_a_caller_of_a_service_talks_with_its_endpoint(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    caller = connect_lab.call()
    taken, _ = server.accept()
    with taken:
        caller.sendall(b"question")
        assert taken.recv(100) == b"question"
        taken.sendall(b"answer")
        assert caller.recv(100) == b"answer"


@VERSIONS
def test_a_caller_is_told_the_address_that_it_called(connect_lab: ConnectLab, version: int) -> None:
    connect_lab.put([connect_lab.server(version)])
    assert connect_lab.call(version).getpeername()[:2] == (SERVICE[version], PORT)


def test_an_ipv6_socket_reaches_the_ipv4_address_and_is_told_it(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    connect_lab.put([server])
    assert connect_lab.call_mapped().getpeername()[:2] == (mapped(4), PORT)
    assert accepted([server], 1) == [1]


@VERSIONS
def test_endpoints_take_turns(connect_lab: ConnectLab, version: int) -> None:
    servers = [connect_lab.server(version) for _ in range(3)]
    connect_lab.put(servers)
    for _ in range(12):
        connect_lab.call(version).close()
    assert accepted(servers, 12) == [4, 4, 4]


def test_turns_of_one_family_are_not_those_of_the_other(connect_lab: ConnectLab) -> None:
    four = [connect_lab.server(4) for _ in range(2)]
    six = [connect_lab.server(6) for _ in range(2)]
    connect_lab.put([*four, *six])
    for _ in range(4):
        connect_lab.call(4).close()
        connect_lab.call(6).close()
    assert accepted(four, 4) == [2, 2]
    assert accepted(six, 4) == [2, 2]


def test_calls_are_spread_as_the_shares_say(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(3)]
    connect_lab.put(servers, shares=[1, 2, 5], even=False)
    for _ in range(4800):
        connect_lab.call().close()
    # Seven standard deviations of the binomial distribution, at most 235.
    for got, expected in zip(accepted(servers, 4800), (600, 1200, 3000), strict=True):
        assert abs(got - expected) < 240


def test_calls_of_other_addresses_are_left_alone(connect_lab: ConnectLab) -> None:
    connect_lab.put([connect_lab.server()])
    other = connect_lab.server()
    caller = connect_lab.caller()
    caller.connect(other.getsockname())
    assert caller.getpeername() == other.getsockname()


def test_calls_of_a_family_without_endpoints_are_left_alone_if_they_are_not_refused(
    connect_lab: ConnectLab,
) -> None:
    connect_lab.put([connect_lab.server(4)])
    with pytest.raises(OSError, match="unreachable") as caught:
        connect_lab.call(6)
    assert caught.value.errno == errno.ENETUNREACH


def test_calls_of_a_service_that_was_removed_are_left_alone(connect_lab: ConnectLab) -> None:
    port = connect_lab.put([connect_lab.server()])
    connect_lab.maps.remove(port.id)
    with pytest.raises(OSError, match="unreachable"):
        connect_lab.call()


def test_an_address_belongs_to_the_service_that_was_put_last(connect_lab: ConnectLab) -> None:
    first, second = connect_lab.server(), connect_lab.server()
    before = connect_lab.put([first])
    connect_lab.put([second])
    connect_lab.maps.remove(before.id)
    connect_lab.call().close()
    assert accepted([second], 1) == [1]


def test_an_address_that_a_service_no_longer_has_is_left_alone(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server])
    connect_lab.put([server], id=port.id, addresses=called_at(81))
    connect_lab.call(port=81).close()
    with pytest.raises(OSError, match="unreachable"):
        connect_lab.call()


def test_without_a_living_agent_calls_are_left_alone(connect_lab: ConnectLab) -> None:
    connect_lab.put([connect_lab.server()])
    caller = connect_lab.call()
    connect_lab.maps.renew_lease(0.0)
    with pytest.raises(OSError, match="unreachable"):
        connect_lab.call()
    assert caller.getpeername() == (SERVICE[4], PORT)


def test_a_socket_that_connects_elsewhere_is_told_the_new_address(connect_lab: ConnectLab) -> None:
    connect_lab.put([connect_lab.server(kind=UDP)])
    other = connect_lab.server(kind=UDP)
    caller = connect_lab.call(kind=UDP)
    caller.connect(other.getsockname())
    assert caller.getpeername() == other.getsockname()


def test_an_endpoint_that_is_out_is_passed_over(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    port = connect_lab.put(servers)
    connect_lab.maps.set_out(port.four[0].id, True)
    for _ in range(4):
        connect_lab.call().close()
    assert accepted(servers, 4) == [0, 4]
    connect_lab.maps.set_out(port.four[0].id, False)
    for _ in range(4):
        connect_lab.call().close()
    assert accepted(servers, 4) == [2, 2]


def test_when_all_endpoints_are_out_they_are_called_all_the_same(connect_lab: ConnectLab) -> None:
    server = connect_lab.server()
    port = connect_lab.put([server])
    connect_lab.maps.set_out(port.four[0].id, True)
    connect_lab.call().close()
    assert accepted([server], 1) == [1]


def test_calls_of_a_network_namespace_stay_with_their_endpoint(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(3)]
    connect_lab.put(servers, affinity_seconds=100)
    for _ in range(6):
        connect_lab.call().close()
    assert sorted(accepted(servers, 6)) == [0, 0, 6]


def test_another_network_namespace_has_an_endpoint_of_its_own(
    connect_lab: ConnectLab, connect_programs: Programs
) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    connect_lab.put(servers, affinity_seconds=100)
    connect_lab.call().close()
    with (
        made_namespace() as name,
        SocketMaker(connect_programs.cgroup, name) as elsewhere,
        elsewhere.make(socket.AF_INET, TCP) as caller,
        pytest.raises(ConnectionRefusedError),
    ):
        caller.connect((SERVICE[4], PORT))
    connect_lab.call().close()
    # Turns were taken by the first two calls; nobody listens in the other namespace.
    assert accepted(servers, 2) == [2, 0]
    counts = dict(connect_lab.maps.endpoint_counts())
    assert sorted(count.total for count in counts.values()) == [1, 2]


def test_affinity_ends_after_its_time(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    connect_lab.put(servers, affinity_seconds=100)
    connect_lab.call().close()
    affinity = connect_lab.map("affinity")
    ((caller, last),) = affinity.items()
    affinity.update(caller, bytes(8) + last[8:])
    connect_lab.call().close()
    assert accepted(servers, 2) == [1, 1]


def test_affinity_holds_when_other_endpoints_change(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(3)]
    port = connect_lab.put(servers, affinity_seconds=100)
    connect_lab.call().close()
    chosen = accepted(servers, 1).index(1)
    kept = tuple(reversed([each for each in port.four if each is not port.four[chosen - 1]]))
    connect_lab.maps.put(type(port)(port.id, port.addresses, kept, even=True, affinity_seconds=100))
    for _ in range(4):
        connect_lab.call().close()
    assert accepted([servers[chosen]], 4) == [4]


def test_affinity_ends_with_its_endpoint(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    port = connect_lab.put(servers, affinity_seconds=100)
    connect_lab.call().close()
    chosen = accepted(servers, 1).index(1)
    kept = (port.four[1 - chosen],)
    connect_lab.maps.put(type(port)(port.id, port.addresses, kept, even=True, affinity_seconds=100))
    connect_lab.call().close()
    assert accepted([servers[1 - chosen]], 1) == [1]
