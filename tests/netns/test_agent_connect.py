"""What a real agent knows and does about calls that are balanced in the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from bpf_mesh import BpfMesh, new_bpf_mesh
from interception_lab import PORT, SERVER, SERVICE, output
from lab_homes import wait_for
from mesh import web
from mesh_servers import TcpServer, echo
from prometheus_client.parser import text_string_to_metric_families
from socket_maker import SocketMaker

from edgemesh.model.objects import ObjectKey
from edgemesh.model.status import BreakerPhase

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

ADMIN = "http://127.0.0.1:15020"
PATIENCE_SECONDS = 20.0


@pytest.fixture
def balancing() -> Iterator[BpfMesh]:
    """An agent that balances calls of ``web`` in the kernel, and closes what has lost its end."""
    policy = {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "targetRef": {"kind": "Service", "name": "web"},
            "connections": {"onEndpointRemoved": "close"},
            "circuitBreaker": {"consecutiveErrors": 2, "maxEjectionPercent": 100},
        },
    }
    with new_bpf_mesh() as made:
        # An agent that stands still for some seconds does not lose its lease.
        made.start(lease_seconds=60)
        made.mesh.apply(*web("tcp"), policy)
        with TcpServer(made.mesh.network.server, (SERVER[4], 8080), echo):
            assert made.wait_for_paths()["connect"] == "available", made.mesh.log
            yield made


@pytest.fixture
def pod(balancing: BpfMesh) -> Iterator[SocketMaker]:
    """Makes sockets in the Pod that calls."""
    with SocketMaker(balancing.cgroup, balancing.mesh.network.pod) as maker:
        yield maker


@contextmanager
def call(pod: SocketMaker) -> Iterator[socket.socket]:
    with pod.make(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(PATIENCE_SECONDS)
        made.connect((SERVICE[4], PORT))
        yield made


def connections(made: BpfMesh) -> dict[str, float]:
    """Connections to endpoints by path."""
    text = output(made.mesh.network.node, ["curl", "-s", f"{ADMIN}/metrics"])
    return {
        sample.labels["path"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "edgemesh_connections_total"
    }


def test_calls_that_never_come_to_it_are_in_its_metrics_and_its_status(
    balancing: BpfMesh, pod: SocketMaker
) -> None:
    with call(pod) as caller:
        caller.sendall(b"hello")
        assert caller.recv(5) == b"hello"
        wait_for(lambda: connections(balancing) == {"connect": 1}, "counted", PATIENCE_SECONDS)
        assert balancing.mesh.status()["flows"]["tcp_open"] == 1
    wait_for(
        lambda: balancing.mesh.status()["flows"]["by_ending"] == {"closed": 1},
        "counted as closed",
        PATIENCE_SECONDS,
    )
    assert balancing.mesh.flows() == []


def test_an_endpoint_that_fails_is_ejected_by_what_the_kernel_tells(
    balancing: BpfMesh, pod: SocketMaker
) -> None:
    dead = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-dead",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "tcp", "protocol": "TCP", "port": 9}],
        "endpoints": [{"addresses": [SERVER[4]], "conditions": {"ready": True}}],
    }
    balancing.mesh.apply(dead)
    balancing.mesh.delete(ObjectKey("EndpointSlice", "default", "web-ipv4"))

    def is_out() -> bool:
        with suppress(ConnectionRefusedError), call(pod):
            pass
        told = balancing.edgemesh("get", "breakers", "web")
        return any(
            f"{SERVER[4]}:9" in line and BreakerPhase.OPEN in line for line in told.splitlines()
        )

    wait_for(is_out, "ejected", PATIENCE_SECONDS)


def test_a_connection_of_a_pod_ends_with_its_endpoint(balancing: BpfMesh, pod: SocketMaker) -> None:
    with call(pod) as caller:
        caller.sendall(b"hello")
        assert caller.recv(5) == b"hello"
        balancing.mesh.delete(ObjectKey("EndpointSlice", "default", "web-ipv4"))
        with pytest.raises(ConnectionAbortedError):
            caller.recv(5)
