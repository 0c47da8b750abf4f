"""Policies of connections and datagrams, kept by a real agent that was told of them by objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from interception_lab import PORT, SERVER, SERVICE, call, send
from lab_homes import wait_for
from mesh import Mesh, endpoints, new_mesh, service, web
from mesh_servers import TcpServer, UdpServer, first_line, name_and_client

pytestmark = pytest.mark.root

ANSWERS = 5
# Less than an endpoint is waited for; a hundredth of it on a quiet machine.
AT_ONCE_SECONDS = 1
OTHER_PORT = 8081


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    with new_mesh() as made:
        made.start()
        yield made


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, **spec},
    }


def answer(mesh: Mesh) -> str:
    """Who answers a connection: "" when it was reset."""
    try:
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            return first_line(connection).partition(" ")[0]
    except ConnectionResetError:
        return ""


def server(mesh: Mesh, name: str, port: int) -> TcpServer:
    return TcpServer(mesh.network.server, (SERVER[4], port), name_and_client(name))


def other_endpoint() -> dict[str, Any]:
    (slice_,) = endpoints("web", [SERVER[4]], [("TCP", OTHER_PORT)])
    slice_["metadata"]["name"] = "web-other"
    return slice_


def test_an_endpoint_that_refuses_is_left_alone(mesh: Mesh) -> None:
    breaker = {"consecutiveErrors": 1, "baseEjection": "600s", "maxEjectionPercent": 50}
    with server(mesh, "first", 8080):
        mesh.apply(*web("tcp"), other_endpoint(), policy(circuitBreaker=breaker))
        assert {answer(mesh) for _ in range(4)} == {"first"}
        tried = [report.attempts for report in mesh.wait_for_flows(4)]
        assert sorted(tried) == [1, 1, 1, 2]


def test_an_endpoint_that_was_left_alone_comes_back_by_itself(mesh: Mesh) -> None:
    breaker = {"consecutiveErrors": 1, "baseEjection": "1s", "maxEjectionPercent": 50}
    with server(mesh, "first", 8080):
        mesh.apply(*web("tcp"), other_endpoint(), policy(circuitBreaker=breaker))
        assert {answer(mesh) for _ in range(2)} == {"first"}
        wait_for(lambda: '"endpoint ejected"' in mesh.log, "the breaker has opened")
        with server(mesh, "second", OTHER_PORT):
            wait_for(lambda: answer(mesh) == "second", "the endpoint has had its trial")
            wait_for(lambda: '"endpoint returned"' in mesh.log, "the breaker has closed")
            assert sorted(answer(mesh) for _ in range(4)) == ["first", "first", "second", "second"]


def test_with_every_endpoint_ejected_connections_are_reset_at_once(mesh: Mesh) -> None:
    breaker = {"consecutiveErrors": 1, "baseEjection": "600s", "maxEjectionPercent": 100}
    mesh.apply(*web("tcp"), policy(circuitBreaker=breaker))
    assert [answer(mesh) for _ in range(3)] == ["", "", ""]
    first, *others = mesh.wait_for_flows(3)
    assert first.ending == "connect-failed"
    assert {(report.ending, report.reason) for report in others} == {("refused", "breaker-open")}
    # Nobody is waited for.
    assert {report.attempts for report in others} == {0}
    assert max(report.duration for report in others) < AT_ONCE_SECONDS


def test_connections_beyond_the_quota_are_reset(mesh: Mesh) -> None:
    with server(mesh, "first", 8080):
        mesh.apply(*web("tcp"), policy(qps={"client": {"rate": 0.01, "burst": 3}}))
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as held:
            assert first_line(held).startswith("first ")
            assert [answer(mesh) for _ in range(4)] == ["first"] * 2 + [""] * 2
            reports = mesh.wait_for_flows(4)
            refused = [report.reason for report in reports if report.ending == "refused"]
            assert refused == ["quota"] * 2
            # Another quota for the same Service, without closing what is open.
            mesh.apply(policy(qps={"client": {"rate": 1000, "burst": 3}}))
            wait_for(lambda: answer(mesh) == "first", "there are tokens again")
            held.sendall(b"still here")
            assert held.recv(100) == b"still here"


def test_datagrams_beyond_the_quota_are_dropped(mesh: Mesh) -> None:
    where = mesh.network.server
    with UdpServer(where, (SERVER[4], 8053), lambda data, _: data):
        mesh.apply(
            service("web", [SERVICE[4]], [("UDP", 53)]),
            *endpoints("web", [SERVER[4]], [("UDP", 8053)]),
            policy(qps={"client": {"rate": 0.01, "burst": ANSWERS}}),
        )
        with closing(send(mesh.network.pod, SERVICE[4], b"0", 53)) as client:
            assert client.recv(10) == b"0"
            for number in range(1, 3 * ANSWERS):
                client.send(b"%d" % number)
            heard = [client.recv(10) for _ in range(ANSWERS - 1)]
            assert heard == [b"%d" % number for number in range(1, ANSWERS)]
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(10)


def test_connections_beyond_what_the_server_takes_wait_for_their_turn(mesh: Mesh) -> None:
    slices = endpoints("web", [SERVER[4]], [("TCP", 8080)])
    slices[0]["endpoints"][0]["nodeName"] = "node"
    limits = {"maxConcurrent": 1, "maxQueue": 1, "queueTimeout": "30s"}
    with server(mesh, "first", 8080):
        mesh.apply(web("tcp")[0], *slices, policy(concurrency=limits))
        first = call(mesh.network.pod, SERVICE[4], PORT)
        assert first_line(first).startswith("first")
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as second:
            wait_for(lambda: mesh.status()["flows"]["tcp_open"] == 2, "the second waits")
            assert answer(mesh) == ""
            first.close()
            assert first_line(second).startswith("first")
