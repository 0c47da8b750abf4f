"""What operators change while calls go on: endpoints come and go, bad manifests change nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import yaml
from interception_lab import PORT, SERVICE, call, output
from lab_homes import wait_for
from mesh import Mesh, endpoints, service
from mesh_servers import TcpServer, first_line, name_and_client

pytestmark = pytest.mark.root

ADDRESSES = {"one": "10.2.0.2", "two": "10.2.0.3"}
# An endpoint gets no new connection so long after the command has ended, on a quiet machine.
GRACE_SECONDS = 0.1
CALLS_MEANWHILE = 50


def edgemesh(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgemesh.cli.main", *arguments, "--config", str(mesh.config)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


class Calls:
    """Calls of a Service from the pod, one after the other, and when each endpoint got its last."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.number = 0
        self.failed = 0
        self.began: dict[str, float] = {}

    def make(self) -> None:
        began = time.monotonic()
        try:
            with closing(call(self._mesh.network.pod, SERVICE[4], PORT)) as connection:
                name = first_line(connection).partition(" ")[0]
        except OSError:
            self.failed += 1
        else:
            self.began[name] = began
        self.number += 1


@pytest.fixture
def calls(mesh: Mesh) -> Iterator[Calls]:
    """Calls that go on beside the test, to a Service with two endpoints of a slice each."""
    output(mesh.network.server, ["ip", "address", "add", f"{ADDRESSES['two']}/24", "dev", "eth0"])
    made = Calls(mesh)
    with ExitStack() as running:
        for name, address in ADDRESSES.items():
            server = TcpServer(mesh.network.server, (address, 8080), name_and_client(name))
            running.enter_context(server)
        mesh.start()
        mesh.apply(service("web", [SERVICE[4]], [("TCP", PORT)]), slice_of("one"), slice_of("two"))
        with beside(made):
            wait_for(lambda: made.began.keys() == ADDRESSES.keys(), "both endpoints are called")
            yield made
    assert made.failed == 0


@contextmanager
def beside(calls: Calls) -> Iterator[None]:
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            calls.make()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def slice_of(name: str) -> dict[str, object]:
    (body,) = endpoints("web", [ADDRESSES[name]], [("TCP", 8080)])
    body["metadata"]["name"] = f"web-{name}"
    return body


def test_a_deleted_endpoint_gets_no_new_connection_and_one_that_is_added_gets_some(
    mesh: Mesh, calls: Calls, tmp_path: Path
) -> None:
    done = edgemesh(mesh, "delete", "endpointslice", "web-two")
    assert done.returncode == 0, done.stderr
    mesh.wait_until_current()
    latest = time.monotonic()
    go_on(calls)
    assert calls.began["two"] <= latest
    assert calls.began["one"] > latest

    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(slice_of("two")))
    done = edgemesh(mesh, "apply", "-f", str(path))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: calls.began["two"] > latest, "the endpoint is called again")


@pytest.mark.long
def test_a_deleted_endpoint_gets_no_new_connection_a_tenth_of_a_second_later(
    mesh: Mesh, calls: Calls
) -> None:
    done = edgemesh(mesh, "delete", "endpointslice", "web-two")
    assert done.returncode == 0, done.stderr
    latest = time.monotonic() + GRACE_SECONDS
    wait_for(lambda: calls.began["one"] > latest, "calls go on")
    go_on(calls)
    assert calls.began["two"] <= latest


def go_on(calls: Calls) -> None:
    """Wait for some more calls."""
    number = calls.number
    wait_for(lambda: calls.number > number + CALLS_MEANWHILE, "calls go on")


BAD = {
    "broken YAML": ("kind: Service\nmetadata: [", "document 1"),
    "wrong type": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: many}\n",
        "spec.ports",
    ),
    "port out of range": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n",
        "spec.ports[0].port",
    ),
    "unknown kind": ("apiVersion: v1\nkind: Servise\nmetadata: {name: web}\n", "kind"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_bad_manifest_is_told_in_one_line_and_nothing_of_it_is_stored(
    mesh: Mesh, tmp_path: Path, mistake: str
) -> None:
    text, named = BAD[mistake]
    good = yaml.safe_dump(service("good", [SERVICE[4]], [("TCP", PORT)]))
    path = tmp_path / "bad.yaml"
    # Broken YAML cannot be told into documents; all else is the second one's fault.
    path.write_text(text if mistake == "broken YAML" else f"{good}---\n{text}")
    mesh.start()
    before = mesh.status()["store"]
    done = edgemesh(mesh, "apply", "-f", str(path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(path) in line
    assert named in line
    if mistake != "broken YAML":
        assert "document 2" in line
    assert mesh.status()["store"] == before


def test_a_manifest_of_a_hundred_mebibytes_is_refused_before_it_is_read(
    mesh: Mesh, tmp_path: Path
) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    mesh.start()
    before = mesh.status()["store"]
    done = edgemesh(mesh, "apply", "-f", str(path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(path) in line
    assert mesh.status()["store"] == before
