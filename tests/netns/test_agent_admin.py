"""What a real agent tells its operators: metrics, health, status, breakers, requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from interception_lab import PORT, SERVER, SERVICE, call, inside, output
from lab_homes import wait_for
from mesh import Mesh, endpoints, service
from mesh_servers import TcpServer, echo
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.root

ADMIN = "http://127.0.0.1:15020"
EMPTY = "10.96.0.77"
ECHO = "10.96.0.78"
POLICY = {
    "apiVersion": "policy.edgemesh.io/v1alpha1",
    "kind": "TrafficPolicy",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "targetRef": {"kind": "Service", "name": "web"},
        "circuitBreaker": {
            "consecutiveErrors": 2,
            "baseEjection": "600s",
            "maxEjectionPercent": 100,
        },
    },
}


def answer(connection: socket.socket) -> None:
    """Requests without a body, one after the other: /fail fails, all else is well."""
    received = b""
    while data := connection.recv(65536):
        received += data
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            status = 500 if head.startswith(b"GET /fail") else 200
            connection.sendall(b"HTTP/1.1 %d So\r\nContent-Length: 5\r\n\r\nhello" % status)


def http_service(name: str, address: str) -> dict[str, Any]:
    return service(name, [address], [("TCP", PORT)], application_protocol="http")


@pytest.fixture
def serving(mesh: Mesh) -> Iterator[Mesh]:
    """An agent with a Service that answers over HTTP, an echo, and one without endpoints."""
    where = mesh.network.server
    with (
        TcpServer(where, (SERVER[4], 8080), answer),
        TcpServer(where, (SERVER[4], 8081), echo),
    ):
        mesh.start(log={"access_rate": 1.0})
        mesh.apply(
            http_service("web", SERVICE[4]),
            *endpoints("web", [SERVER[4]], [("TCP", 8080)]),
            http_service("empty", EMPTY),
            service("echo", [ECHO], [("TCP", PORT)]),
            *endpoints("echo", [SERVER[4]], [("TCP", 8081)]),
        )
        yield mesh


def get(namespace: str, url: str) -> int:
    """The status of the answer."""
    told = ["curl", "-so/dev/null", "-w", "%{http_code}", url]
    return int(output(namespace, told))


def page(mesh: Mesh, path: str) -> str:
    return output(mesh.network.node, ["curl", "-s", f"{ADMIN}{path}"])


def scrape(mesh: Mesh) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Samples by name."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(page(mesh, "/metrics")):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def values(
    samples: dict[str, list[tuple[dict[str, str], float]]], name: str, label: str, **wanted: str
) -> dict[str, float]:
    """The values of a metric where labels are as wanted, by another label."""
    return {
        labels[label]: value
        for labels, value in samples.get(name, [])
        if wanted.items() <= labels.items()
    }


def edgemesh(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgemesh.cli.main", *arguments, "--socket", str(mesh.socket)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_metrics_are_what_was_asked_and_answered(serving: Mesh) -> None:
    pod = serving.network.pod
    for path, status, times in (("ok", 200, 5), ("fail", 500, 2)):
        for _ in range(times):
            assert get(pod, f"http://{SERVICE[4]}:{PORT}/{path}") == status
    assert get(pod, f"http://{EMPTY}:{PORT}/") == 503
    with closing(call(pod, ECHO, PORT)) as connection:
        connection.sendall(b"12345")
        assert connection.recv(5) == b"12345"
    serving.wait_for_flows(9)
    samples = scrape(serving)
    web = {"namespace": "default", "service": "web", "endpoint": f"{SERVER[4]}:8080"}
    assert values(samples, "edgemesh_requests_total", "code", **web) == {"2xx": 5, "5xx": 2}
    name = "edgemesh_request_duration_seconds"
    assert values(samples, f"{name}_count", "path", **web) == {"http": 7}
    buckets = values(samples, f"{name}_bucket", "le", **web)
    assert (buckets["30"], buckets["+Inf"]) == (7, 7)
    assert values(samples, "edgemesh_received_bytes_total", "service") == {"web": 35, "echo": 5}
    assert values(samples, "edgemesh_sent_bytes_total", "path", service="echo") == {"relay": 5}
    assert values(samples, "edgemesh_refusals_total", "reason") == {"no-endpoint": 1}
    assert values(samples, "edgemesh_flows_total", "transport")["TCP"] == 9
    assert values(samples, "edgemesh_flows_open", "transport")["TCP"] == 0
    [(_, resident)] = samples["process_resident_memory_bytes"]
    assert 20e6 < resident < 250e6
    [(_, revision)] = samples["edgemesh_snapshot_revision"]
    assert samples["edgemesh_store_revision"] == [({}, revision)]


def test_every_request_is_written_down_when_the_settings_ask_for_it(serving: Mesh) -> None:
    url = f"http://{SERVICE[4]}:{PORT}/fail?token=secret"
    assert get(serving.network.pod, url) == 500

    def lines() -> list[dict[str, Any]]:
        return [
            json.loads(line)
            # What comes after the last line's end is still being written.
            for line in serving.log.rpartition("\n")[0].splitlines()
            if '"event":"request"' in line
        ]

    wait_for(lambda: bool(lines()), "the request is written down")
    [line] = lines()
    assert (line["method"], line["path"], line["query"]) == ("GET", "/fail", "")
    assert (line["status"], line["service"]) == (500, f"default/web:{PORT}")
    assert line["endpoint"] == f"{SERVER[4]}:8080"
    assert "secret" not in serving.log


def test_health_readiness_and_status_are_told(serving: Mesh) -> None:
    node = serving.network.node
    assert get(serving.network.pod, f"http://{SERVICE[4]}:{PORT}/") == 200
    assert (get(node, f"{ADMIN}/healthz"), get(node, f"{ADMIN}/readyz")) == (200, 200)
    assert get(node, f"{ADMIN}/nothing") == 404
    assert "/metrics" in page(serving, "/")
    status = json.loads(page(serving, "/status"))
    assert status["requests"] == {"2xx": 1}
    assert status.keys() == serving.status().keys()
    assert "requests      1 in all: 2xx 1" in edgemesh(serving, "status").stdout


def test_nobody_but_the_node_itself_reaches_it(serving: Mesh) -> None:
    with pytest.raises(ConnectionRefusedError):
        call(serving.network.pod, "10.1.0.1", 15020)


def test_an_agent_that_drains_is_alive_and_not_ready(serving: Mesh) -> None:
    node = serving.network.node
    with closing(call(serving.network.pod, ECHO, PORT)) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        os.kill(serving.agent.pid, signal.SIGTERM)
        wait_for(lambda: page(serving, "/readyz") == "draining\n", "the agent drains")
        assert get(node, f"{ADMIN}/readyz") == 503
        assert get(node, f"{ADMIN}/healthz") == 200
    assert serving.exit_status() == 0


def test_a_breaker_that_opened_is_seen(serving: Mesh) -> None:
    serving.apply(POLICY)
    for status in (500, 500, 503):
        assert get(serving.network.pod, f"http://{SERVICE[4]}:{PORT}/fail") == status
    [heading, row] = edgemesh(serving, "get", "breakers").stdout.splitlines()
    assert heading.split()[:4] == ["SERVICE", "ENDPOINT", "STATE", "FOR"]
    assert row.split()[:3] == [f"web:{PORT}", f"{SERVER[4]}:8080", "open"]
    [told] = json.loads(edgemesh(serving, "get", "breakers", "-A", "-o", "json").stdout)
    assert (told["state"], told["reason"]) == ("open", "consecutive-errors")
    assert (told["failures_in_row"], told["ejections"], told["calls"]) == (2, 1, 2)
    assert 300 < told["open_seconds"] <= 600
    assert "state: open" in edgemesh(serving, "get", "breakers", "web", "-o", "yaml").stdout
    assert edgemesh(serving, "get", "breakers", "echo").stderr.startswith("No service")
    samples = scrape(serving)
    assert values(samples, "edgemesh_endpoint_breaker", "service") == {"web": 2}
    assert values(samples, "edgemesh_ejections_total", "service") == {"web": 1}
    assert values(samples, "edgemesh_refusals_total", "reason") == {"breaker-open": 1}
    assert serving.log.count('"reason":"consecutive-errors"') == 1


def test_without_an_agent_breakers_are_asked_for_in_vain(mesh: Mesh) -> None:
    asked = edgemesh(mesh, "get", "breakers")
    assert asked.returncode == 2
    assert "no agent answers" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


@contextmanager
def taken(namespace: str, address: tuple[str, int]) -> Iterator[None]:
    with closing(inside(namespace, lambda: socket.create_server(address))):
        yield


def test_a_port_that_is_taken_is_named(mesh: Mesh) -> None:
    mesh.configure()
    with taken(mesh.network.node, ("127.0.0.1", 15020)):
        run = [sys.executable, "-m", "edgemesh.cli.main", "run", "--config", str(mesh.config)]
        argv = ["ip", "netns", "exec", mesh.network.node, *run]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 2
    assert "admin.listen: 127.0.0.1 port 15020: " in done.stderr


def test_it_listens_elsewhere_or_not_at_all(mesh: Mesh) -> None:
    mesh.start(admin={"listen": "127.0.0.1:15099"})
    told = ["curl", "-s", "http://127.0.0.1:15099/healthz"]
    assert output(mesh.network.node, told) == "alive\n"
    mesh.stop()
    mesh.start(admin={"enabled": False})
    with pytest.raises(ConnectionRefusedError):
        call(mesh.network.node, "127.0.0.1", 15020)
