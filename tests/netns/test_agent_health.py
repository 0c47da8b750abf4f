"""Active health checks by a real agent: endpoints that go down, say so, and come back."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from interception_lab import PORT, SERVICE, call, output
from lab_homes import wait_for
from mesh import Mesh, endpoints, service
from mesh_servers import TcpServer, first_line, name_and_client

from edgemesh.model.objects import ObjectKey

pytestmark = pytest.mark.root

ADDRESSES = {"one": "10.2.0.2", "two": "10.2.0.3"}
HEALTH_PORT = 8090
# As often as round robin would have reached each of two endpoints four times.
CALLS = 8
POLICY = ObjectKey("TrafficPolicy", "default", "web")


class Wellness:
    """What the endpoints say when they are asked at HEALTH_PORT."""

    def __init__(self) -> None:
        self.statuses = dict.fromkeys(ADDRESSES, 200)

    def answer(self, name: str, connection: socket.socket) -> None:
        connection.recv(4096)
        status = self.statuses[name]
        connection.sendall(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def wellness(mesh: Mesh) -> Iterator[Wellness]:
    """A Service of two endpoints, which take calls however they say they are."""
    made = Wellness()
    where = mesh.network.server
    output(where, ["ip", "address", "add", f"{ADDRESSES['two']}/24", "dev", "eth0"])
    with ExitStack() as running:
        for name, address in ADDRESSES.items():
            running.enter_context(TcpServer(where, (address, 8080), name_and_client(name)))
            asked = TcpServer(
                where, (address, HEALTH_PORT), lambda peer, name=name: made.answer(name, peer)
            )
            running.enter_context(asked)
        mesh.start()
        mesh.apply(
            service("web", [SERVICE[4]], [("TCP", PORT)]),
            *endpoints("web", list(ADDRESSES.values()), [("TCP", 8080)]),
        )
        yield made


def policy(**health_check: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "targetRef": {"kind": "Service", "name": "web"},
            "healthCheck": {"interval": "100ms", **health_check},
        },
    }


# The answers are this process's own, which may stand still for some seconds.
ASK_BY_HTTP = policy(port=HEALTH_PORT, http={"path": "/healthz"}, timeout="20s")


def answers(mesh: Mesh) -> Counter[str]:
    """Who answers so many calls, one after the other."""
    found: Counter[str] = Counter()
    for _ in range(CALLS):
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            found[first_line(connection).partition(" ")[0]] += 1
    return found


def turned(mesh: Mesh, what: str, times: int = 1) -> None:
    """Wait until the agent has said so often that an endpoint is healthy or is not."""
    event = f'"event":"endpoint {what}"'
    wait_for(lambda: mesh.log.count(event) >= times, f"{event} {times} times")


def test_an_endpoint_that_says_it_is_unwell_gets_no_calls_until_it_is_well_again(
    mesh: Mesh, wellness: Wellness
) -> None:
    mesh.apply(ASK_BY_HTTP)
    assert answers(mesh) == {"one": CALLS // 2, "two": CALLS // 2}
    wellness.statuses["two"] = 503
    turned(mesh, "unhealthy")
    assert answers(mesh) == {"one": CALLS}
    assert '"reason":"HTTP status 503"' in mesh.log
    wellness.statuses["two"] = 200
    turned(mesh, "healthy")
    assert answers(mesh) == {"one": CALLS // 2, "two": CALLS // 2}


def test_an_endpoint_that_is_gone_is_not_called_and_one_that_is_back_is(
    mesh: Mesh, wellness: Wellness
) -> None:
    mesh.apply(policy(tcp={}, timeout="1s"))
    where = mesh.network.server
    address = f"{ADDRESSES['two']}/24"
    output(where, ["ip", "address", "del", address, "dev", "eth0"])
    turned(mesh, "unhealthy")
    flows = len(mesh.flows())
    assert answers(mesh) == {"one": CALLS}
    # Nobody has even tried the other.
    assert [flow.attempts for flow in mesh.wait_for_flows(flows + CALLS)[flows:]] == [1] * CALLS
    output(where, ["ip", "address", "add", address, "dev", "eth0"])
    turned(mesh, "healthy")
    assert answers(mesh)["two"]


def test_an_agent_that_starts_anew_learns_who_is_well_by_itself(
    mesh: Mesh, wellness: Wellness
) -> None:
    mesh.apply(ASK_BY_HTTP)
    wellness.statuses["two"] = 500
    turned(mesh, "unhealthy")
    mesh.stop()
    mesh.start()
    turned(mesh, "unhealthy", times=2)
    assert answers(mesh) == {"one": CALLS}


def test_without_the_policy_nobody_is_asked_and_everybody_is_called(
    mesh: Mesh, wellness: Wellness
) -> None:
    mesh.apply(ASK_BY_HTTP)
    wellness.statuses["two"] = 503
    turned(mesh, "unhealthy")
    mesh.delete(POLICY)
    wait_for(lambda: bool(answers(mesh)["two"]), "both endpoints are called")
