"""Rules that an agent installs only while they are needed: no call is lost when that changes."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bpf_mesh import LOADING_SECONDS, BpfMesh, new_bpf_mesh
from interception_lab import NODE, POD, PORT, SERVER, SERVICE, call, inside, output
from lab_homes import wait_for
from mesh import endpoints, service, web
from mesh_servers import TcpServer, first_line, name_and_client
from socket_maker import SocketMaker

from edgemesh.kernel.bpf.bpffs import mount_if_missing
from edgemesh.kernel.bpf.pins import locked
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.model.status import DiversionNeed

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

PATIENCE_SECONDS = 20.0
# More than fits into the smallest buffer of a client, and less than is kept for it besides.
LEFT = bytes(range(256)) * 96
RELAYED = ObjectKey("TrafficPolicy", "default", "web")
# A caller of the Service, as its server sees it: balanced, or by way of the agent.
BALANCED, DIVERTED = POD[4], "10.2.0.1"


@pytest.fixture
def bpf_mesh() -> Iterator[BpfMesh]:
    """One with a server of ``web``; its agent is not started yet."""
    with (
        new_bpf_mesh() as made,
        TcpServer(made.mesh.network.server, (SERVER[4], 8080), name_and_client("web")),
    ):
        yield made


def settings(made: BpfMesh, **netfilter: object) -> dict[str, dict[str, object]]:
    """Of its agent."""
    return {
        "netfilter": {"install": "needed", "linger_seconds": 0.5, **netfilter},
        # Where there are no rules, a call is lost when an agent stands still for longer.
        "bpf": {**made.table, "lease_seconds": 60},
        "dns": {"enabled": False},
    }


def start(made: BpfMesh, **netfilter: object) -> None:
    """Start an agent that serves ``web``; returns when it knows what the kernel can do."""
    made.mesh.start(**settings(made, **netfilter))
    made.mesh.apply(*web("tcp"))
    assert made.wait_for_paths()["connect"] == "available", made.mesh.log


def relayed() -> dict[str, Any]:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": RELAYED.name, "namespace": RELAYED.namespace},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, "path": "relay"},
    }


def rules(made: BpfMesh) -> str:
    """What interception adds to the node."""
    script = "nft list tables; for v in -4 -6; do ip $v rule; ip $v route show table all; done"
    return output(made.mesh.network.node, ["sh", "-c", script])


def need(made: BpfMesh) -> DiversionNeed:
    return DiversionNeed(**made.mesh.status()["interception"]["need"])


def stand(made: BpfMesh) -> bool:
    return bool(made.mesh.status()["interception"]["installed"])


def wait_until(made: BpfMesh, *, installed: bool) -> None:
    wait_for(lambda: stand(made) is installed, f"installed: {installed}", PATIENCE_SECONDS)


class Callers:
    """Call the Service all the time, from a Pod, and note what came of it.

    Attributes:
        seen: how often the server saw which caller, and what failed.
    """

    def __init__(self, pod: SocketMaker) -> None:
        self.seen: Counter[str] = Counter()
        self._pod = pod
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._pod.make(socket.AF_INET, socket.SOCK_STREAM) as caller:
                    caller.settimeout(PATIENCE_SECONDS)
                    caller.connect((SERVICE[4], PORT))
                    self.seen[first_line(caller).split()[1]] += 1
            except (OSError, IndexError) as error:
                self.seen[repr(error)] += 1

    def until_seen(self, caller: str) -> None:
        """Wait until the server sees one more of these."""
        before = self.seen[caller]
        wait_for(lambda: self.seen[caller] > before, f"calls of {caller}", PATIENCE_SECONDS)

    @contextmanager
    def calling(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


def test_where_every_port_is_balanced_there_are_no_rules_and_everybody_says_so(
    bpf_mesh: BpfMesh,
) -> None:
    before = rules(bpf_mesh)
    start(bpf_mesh)
    wait_for(lambda: rules(bpf_mesh) == before, "there are none", PATIENCE_SECONDS)
    assert bpf_mesh.call(bpf_mesh.mesh.network.pod, SERVICE[4], PORT)[2] == BALANCED
    said = "rules not needed: all 1 service ports are balanced when sockets connect"
    assert said in bpf_mesh.edgemesh("status")
    assert said in bpf_mesh.edgemesh("doctor")
    assert "installed only while they are needed" in bpf_mesh.edgemesh("netfilter", "check")
    assert "not needed" in bpf_mesh.edgemesh("trace", "web")
    assert "FAIL" not in bpf_mesh.edgemesh("trace", "web")


@pytest.mark.parametrize("backend", ["nft", pytest.param("iptables", marks=pytest.mark.long)])
def test_no_call_fails_when_a_port_turns_to_the_agent_and_back(
    bpf_mesh: BpfMesh, backend: str
) -> None:
    before = rules(bpf_mesh)
    # Longer than a caller may stand still between its choice of a way and its first packet.
    start(bpf_mesh, backend=backend, linger_seconds=2.0)
    mesh = bpf_mesh.mesh
    with SocketMaker(bpf_mesh.cgroup, mesh.network.pod) as pod:
        callers = Callers(pod)
        with callers.calling():
            for _ in range(3):
                callers.until_seen(BALANCED)
                mesh.apply(relayed())
                assert stand(bpf_mesh)
                callers.until_seen(DIVERTED)
                assert need(bpf_mesh) == DiversionNeed(service_ports=1)
                mesh.delete(RELAYED)
                wait_until(bpf_mesh, installed=False)
        assert set(callers.seen) == {BALANCED, DIVERTED}
    wait_for(lambda: rules(bpf_mesh) == before, "nothing is left", PATIENCE_SECONDS)


def test_rules_stay_until_what_they_led_to_the_agent_is_over(bpf_mesh: BpfMesh) -> None:
    start(bpf_mesh)
    mesh = bpf_mesh.mesh
    mesh.apply(relayed())
    with call(mesh.network.pod, SERVICE[4], PORT) as caller:
        assert first_line(caller).split()[1] == DIVERTED
        mesh.delete(RELAYED)
        wait_for(lambda: not need(bpf_mesh), "needed no more", PATIENCE_SECONDS)
        assert "no longer needed" in bpf_mesh.edgemesh("status")
        with call(mesh.network.pod, SERVICE[4], PORT) as other:
            assert first_line(other).split()[1] == DIVERTED
        caller.sendall(b"still there")
        assert caller.recv(64) == b"still there"
        assert stand(bpf_mesh)
    wait_until(bpf_mesh, installed=False)


@pytest.mark.long
def test_rules_stay_until_a_slow_client_has_taken_what_its_flow_left(bpf_mesh: BpfMesh) -> None:
    start(bpf_mesh)
    mesh = bpf_mesh.mesh
    mesh.apply(relayed(), *endpoints("web", [SERVER[4]], [("TCP", 8081)]))

    def send_all(connection: socket.socket) -> None:
        connection.sendall(LEFT)

    with (
        TcpServer(mesh.network.server, (SERVER[4], 8081), send_all),
        inside(mesh.network.pod, socket.socket) as caller,
    ):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        caller.settimeout(PATIENCE_SECONDS)
        caller.connect((SERVICE[4], PORT))
        caller.shutdown(socket.SHUT_WR)
        mesh.wait_for_flows(1)
        mesh.delete(RELAYED)
        wait_for(lambda: not need(bpf_mesh), "needed no more", PATIENCE_SECONDS)
        # They would go within one and a half.
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert stand(bpf_mesh)
        assert caller.makefile("rb").read() == LEFT
    wait_until(bpf_mesh, installed=False)


def test_a_node_port_needs_rules(bpf_mesh: BpfMesh) -> None:
    start(bpf_mesh)
    mesh = bpf_mesh.mesh
    addresses = list(SERVICE.values())
    mesh.apply(service("web", addresses, [("TCP", PORT)], node_ports={"TCP": 30080}))
    wait_until(bpf_mesh, installed=True)
    assert need(bpf_mesh) == DiversionNeed(node_ports=1, balanced=1)
    with call(mesh.network.pod, NODE[4], 30080) as caller:
        assert first_line(caller).split()[0] == "web"


def test_rules_stand_soon_after_somebody_took_the_programs_away(bpf_mesh: BpfMesh) -> None:
    start(bpf_mesh)
    wait_until(bpf_mesh, installed=False)
    shutil.rmtree(bpf_mesh.directory / "current", ignore_errors=True)
    wait_until(bpf_mesh, installed=True)
    answered = bpf_mesh.call(bpf_mesh.mesh.network.pod, SERVICE[4], PORT)
    assert answered[2] == DIVERTED
    assert "detached" in bpf_mesh.paths()["connect"]


def test_a_killed_agent_and_one_that_begins_again_leave_nothing(bpf_mesh: BpfMesh) -> None:
    before = rules(bpf_mesh)
    start(bpf_mesh)
    bpf_mesh.mesh.apply(relayed())
    wait_until(bpf_mesh, installed=True)
    bpf_mesh.mesh.kill()
    wait_for(lambda: rules(bpf_mesh) == before, "cleared away", LOADING_SECONDS)
    bpf_mesh.mesh.start(**settings(bpf_mesh))
    wait_until(bpf_mesh, installed=True)
    bpf_mesh.mesh.delete(RELAYED)
    wait_for(lambda: rules(bpf_mesh) == before, "nothing is left", PATIENCE_SECONDS)
    bpf_mesh.mesh.kill()
    assert rules(bpf_mesh) == before


def test_calls_do_not_wait_for_bpf_that_takes_its_time(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    mount_if_missing(bpf_mesh.directory)
    # Another load is under way, as it were.
    with locked(bpf_mesh.directory):
        mesh.start(**settings(bpf_mesh, decision_seconds=0.01))
        mesh.apply(*web("tcp"))
        assert bpf_mesh.paths()["connect"] == "being loaded"
        assert stand(bpf_mesh)
        assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[2] == DIVERTED
    assert bpf_mesh.wait_for_paths()["connect"] == "available"
    wait_until(bpf_mesh, installed=False)


def test_an_agent_without_bpf_needs_rules_for_every_port(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    mesh.start(netfilter={"install": "needed"}, bpf={"enabled": False}, dns={"enabled": False})
    mesh.apply(*web("tcp"))
    assert stand(bpf_mesh)
    assert need(bpf_mesh) == DiversionNeed(service_ports=1)
    assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[2] == DIVERTED


def test_rules_that_are_to_outlive_the_agent_cannot_depend_on_need(bpf_mesh: BpfMesh) -> None:
    with pytest.raises(OperatorError, match="promises rules that outlive"):
        bpf_mesh.mesh.start(netfilter={"install": "needed", "fail": "closed"})
