"""The real grpcio, client and server, with an agent between them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interception_lab import SERVER, SERVICE, output
from mesh import Mesh, endpoints, new_mesh, service

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

PORT, ENDPOINT_PORT = 80, 8080
ADDRESSES = (SERVER[4], "10.2.0.3")
HERE = Path(__file__).parent


@contextmanager
def servers(mesh: Mesh) -> Iterator[None]:
    where = mesh.network.server
    output(where, ["ip", "address", "add", f"{ADDRESSES[1]}/24", "dev", "eth0"])
    script = str(HERE / "grpc_server.py")
    argv = command_in(where, [sys.executable, script, str(ENDPOINT_PORT), *ADDRESSES])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
            yield
        finally:
            process.terminate()


def grpc_service() -> list[dict[str, Any]]:
    body = service("echo", [SERVICE[4]], [("TCP", PORT)])
    body["spec"]["ports"][0]["appProtocol"] = "grpc"
    body["spec"]["ipFamilyPolicy"] = "SingleStack"
    return [body, *endpoints("echo", list(ADDRESSES), [("TCP", ENDPOINT_PORT)])]


@pytest.fixture(scope="module")
def serving() -> Iterator[Mesh]:
    with new_mesh() as mesh, servers(mesh):
        mesh.start(http2={"max_streams": 256})
        mesh.apply(*grpc_service())
        yield mesh


def played(mesh: Mesh, *scenarios: str) -> list[Any]:
    """What a client in the pod finds, on one channel."""
    target = f"{SERVICE[4]}:{PORT}"
    argv = [sys.executable, str(HERE / "grpc_client.py"), target, *scenarios]
    found: list[Any] = json.loads(output(mesh.network.pod, argv))
    return found


def test_unary_calls_are_answered(serving: Mesh) -> None:
    assert played(serving, "unary") == ["hello"]


def test_a_server_streams(serving: Mesh) -> None:
    assert played(serving, "server_streaming") == [list(range(1000))]


def test_a_client_streams(serving: Mesh) -> None:
    assert played(serving, "client_streaming") == [",".join(map(str, range(1000)))]


def test_both_stream_in_turns(serving: Mesh) -> None:
    assert played(serving, "bidirectional") == [[list(range(200)), []]]


def test_messages_of_8_mib_arrive_whole(serving: Mesh) -> None:
    assert played(serving, "large") == [[True] * 5]


def test_large_messages_stream_both_ways(serving: Mesh) -> None:
    assert played(serving, "large_stream") == [[1 << 20] * 16]


def test_200_streams_are_open_on_one_connection(serving: Mesh) -> None:
    before = serving.status()["flows"]["total"]
    ((heard, codes),) = played(serving, "many_streams")
    assert heard == [[f"{turn}.{number}" for number in range(200)] for turn in range(3)]
    assert codes == ["OK"] * 200
    assert serving.status()["flows"]["total"] == before + 1


def test_calls_of_one_connection_are_spread_over_the_endpoints(serving: Mesh) -> None:
    (served,) = played(serving, "spread")
    assert served == dict.fromkeys(ADDRESSES, 50)


def test_statuses_arrive_with_their_messages(serving: Mesh) -> None:
    (told,) = played(serving, "statuses")
    assert told["fail"] == ["FAILED_PRECONDITION", "so nicht: é%"]
    assert told["missing"][0] == "UNIMPLEMENTED"


def test_a_deadline_reaches_the_server(serving: Mesh) -> None:
    assert played(serving, "deadline") == [["DEADLINE_EXCEEDED", True]]


def test_a_cancellation_reaches_the_server(serving: Mesh) -> None:
    assert played(serving, "cancellation") == [[["CANCELLED"] * 3, True, True]]


def test_more_calls_than_may_be_open_wait_their_turn() -> None:
    with new_mesh() as mesh, servers(mesh):
        mesh.start(http2={"max_streams": 20})
        mesh.apply(*grpc_service())
        assert played(mesh, "many_calls", "unary") == [list(range(200)), "hello"]


def test_a_service_without_endpoints_is_unavailable_at_once(mesh: Mesh) -> None:
    mesh.start()
    mesh.apply(grpc_service()[0])
    ((code, details, seconds),) = played(mesh, "refusal")
    assert code == "UNAVAILABLE"
    assert "no-endpoint" in details
    # It would wait for half a minute.
    assert seconds < 15


def test_a_quota_is_told_as_exhausted(serving: Mesh) -> None:
    policy = {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "targetRef": {"kind": "Service", "name": "echo"},
            "qps": {"client": {"rate": 0.001, "burst": 2}},
        },
    }
    serving.apply(policy)
    told = ["OK", "OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]
    assert played(serving, "quota") == [told]
