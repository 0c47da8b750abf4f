"""An agent brings up the paths that need the kernel, uses what works, and tells what does not."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bpf_mesh import BpfMesh, new_bpf_mesh
from bpf_programs import loaded_program, opened
from bpf_samples import detached
from interception_lab import POD, PORT, SERVER, SERVICE, call
from lab_homes import wait_for
from mesh import web
from mesh_servers import TcpServer, name_and_client

from edgemesh.kernel.bpf.bpffs import USUAL_MOUNT
from edgemesh.kernel.bpf.loader import load
from edgemesh.kernel.bpf.programs import SOCKOPS
from edgemesh.kernel.bpf.syscall import AttachType, ProgramType, prog_attach, prog_detach

Body = dict[str, Any]
BOUND = 80 * 1024 * 1024
# A guard has nothing of its own but an interpreter.
GUARD_BOUND = 4 * 1024 * 1024
# Longer than an agent may be kept from confirming its maps.
LEASE_SECONDS = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture
def bpf_mesh() -> Iterator[BpfMesh]:
    with new_bpf_mesh() as made:
        yield made


def traffic_policy(**spec: object) -> Body:
    """One for the Service ``web``."""
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, **spec},
    }


def received(connection: socket.socket, count: int) -> bytes:
    """So many bytes, or all that come before the end."""
    with connection.makefile("rb") as stream:
        return stream.read(count)


def echo_lines(connection: socket.socket) -> None:
    for line in connection.makefile("rb"):
        connection.sendall(line)


@contextmanager
def servers(bpf_mesh: BpfMesh) -> Iterator[None]:
    where = bpf_mesh.mesh.network.server
    with (
        TcpServer(where, (SERVER[4], 8080), name_and_client("four")),
        TcpServer(where, (SERVER[6], 8080), name_and_client("six")),
    ):
        yield


def test_calls_are_balanced_in_the_kernel_once_it_is_found_to_work(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    bpf_mesh.start(lease_seconds=LEASE_SECONDS)
    mesh.apply(*web())
    with servers(bpf_mesh):
        assert bpf_mesh.wait_for_paths()["connect"] == "available", mesh.log
        for version, name in ((4, "four"), (6, "six")):
            called = SERVICE[version]
            assert bpf_mesh.call(mesh.network.pod, called, PORT) == [called, name, POD[version]]
        assert mesh.resident_bytes() < BOUND
        hops = {
            hop["name"]: hop["detail"]
            for hop in json.loads(bpf_mesh.edgemesh("trace", "web", "--json"))
        }
        assert hops["decision"].endswith("path connect, it sees the client's address")
        assert hops["call"].endswith(f"to {SERVER[4]}:8080 over path connect")
    assert mesh.flows() == []
    row = bpf_mesh.edgemesh("get", "services", "-o", "wide").splitlines()[1]
    assert row.endswith("connect   nothing that is asked needs the agent")
    mesh.stop()
    assert not bpf_mesh.directory.exists()


def test_what_comes_to_the_agent_is_moved_by_the_kernel_once_it_is_found_to_work(
    bpf_mesh: BpfMesh,
) -> None:
    mesh = bpf_mesh.mesh
    bpf_mesh.start()
    mesh.apply(*web(), traffic_policy(path="splice"))
    with TcpServer(mesh.network.server, (SERVER[4], 8080), echo_lines):
        assert bpf_mesh.wait_for_paths()["splice"] == "available", mesh.log
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            for number in range(40):
                line = f"{number}\n".encode()
                connection.sendall(line)
                assert received(connection, len(line)) == line
        [report] = mesh.wait_for_flows(1)
    assert (report.path, report.movers) == ("splice", ("relay", "sockmap"))


def answer_requests(connection: socket.socket) -> None:
    while connection.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST:
        connection.sendall(ANSWER)


def test_the_agent_stays_small_with_bpf_whatever_it_is_asked(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    bpf_mesh.start()
    mesh.apply(*web("http"))
    bpf_mesh.wait_for_paths()
    with TcpServer(mesh.network.server, (SERVER[4], 8080), answer_requests):
        for words in (("trace", "web"), ("status",), ("get", "services", "-o", "wide")):
            bpf_mesh.edgemesh(*words)
        with ExitStack() as opened:
            callers = [
                opened.enter_context(closing(call(mesh.network.pod, SERVICE[4], PORT)))
                for _ in range(50)
            ]
            for _ in range(200):
                for caller in callers:
                    caller.sendall(REQUEST)
                for caller in callers:
                    assert received(caller, len(ANSWER)) == ANSWER
            assert mesh.status()["requests"] == {"2xx": 10_000}
            print(f"{mesh.resident_bytes() / 2**20:.1f} MiB")
            assert mesh.resident_bytes() < BOUND
    assert own_bytes(guard_of(mesh.agent.pid)) < GUARD_BOUND


def guard_of(agent: int) -> int:
    """The one child that an agent has for good."""
    listed = subprocess.run(
        ["ps", "--ppid", str(agent), "-o", "pid="], capture_output=True, text=True, check=True
    )
    (guard,) = listed.stdout.split()
    return int(guard)


def own_bytes(process: int) -> int:
    """What a process has written to, or shares with nobody."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


@contextmanager
def loading_held_up() -> Iterator[None]:
    """Nobody begins to load: each has to see first whether a BPF file system is mounted."""
    lock = os.open(USUAL_MOUNT.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def test_calls_are_relayed_while_the_kernel_is_looked_at(bpf_mesh: BpfMesh) -> None:
    with servers(bpf_mesh), loading_held_up():
        bpf_mesh.start()
        bpf_mesh.mesh.apply(*web())
        assert bpf_mesh.paths()["connect"] == "being loaded"
        assert bpf_mesh.call(bpf_mesh.mesh.network.pod, SERVICE[4], PORT)[1] == "four"


def test_a_program_that_allows_no_others_is_named_and_left_alone(bpf_mesh: BpfMesh) -> None:
    hook = AttachType.CGROUP_INET4_CONNECT
    mesh = bpf_mesh.mesh
    with (
        loaded_program("their_connect", ProgramType.CGROUP_SOCK_ADDR, hook) as theirs,
        opened(bpf_mesh.cgroup) as cgroup,
        servers(bpf_mesh),
    ):
        prog_attach(theirs, cgroup, hook)
        try:
            bpf_mesh.start()
            mesh.apply(*web())
            paths = bpf_mesh.wait_for_paths()
            assert paths["connect"].startswith("their_connect (id ")
            assert paths["connect"].endswith("allows no others")
            assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[1] == "four"
            assert f"lacking  path connect: {paths['connect']}" in bpf_mesh.edgemesh("doctor")
            [warning] = [line for line in mesh.log.splitlines() if '"component":"paths"' in line]
            assert "their_connect" in warning
        finally:
            prog_detach(theirs, cgroup, hook)
    mesh.wait_for_flows(1)


def test_what_does_not_work_is_told_and_the_rest_is_used(bpf_mesh: BpfMesh) -> None:
    load(bpf_mesh.settings, owner="operator")
    (watching,) = SOCKOPS.programs
    with detached(bpf_mesh.settings, watching), servers(bpf_mesh):
        bpf_mesh.start(lease_seconds=LEASE_SECONDS)
        mesh = bpf_mesh.mesh
        mesh.apply(*web())
        less = (
            "available; failures are not seen, for breakers: "
            "that an endpoint refuses a connection is not told"
        )
        assert bpf_mesh.wait_for_paths()["connect"] == less
        assert f"path connect: {less}" in bpf_mesh.edgemesh("doctor")
        assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[0] == SERVICE[4]
        [told] = [json.loads(line) for line in mesh.log.splitlines() if "self_test" in line]
        assert told["sockops"] == "that an endpoint refuses a connection is not told"
        assert 0 < told["self_test_seconds"] < bpf_mesh.settings.self_test_seconds


def test_what_is_unloaded_by_force_is_noticed_and_done_without(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    bpf_mesh.start(lease_seconds=LEASE_SECONDS)
    mesh.apply(*web())
    bpf_mesh.wait_for_paths()
    with servers(bpf_mesh):
        assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[0] == SERVICE[4]
        bpf_mesh.edgemesh("bpf", "unload")
        assert bpf_mesh.paths()["connect"] == "available"
        assert bpf_mesh.edgemesh("bpf", "unload", "--force").startswith("unloaded from ")
        wait_for(lambda: "available" not in bpf_mesh.paths()["connect"], "it is noticed")
        paths = bpf_mesh.paths()
        assert paths["connect"].startswith("programs were detached by somebody else: ")
        assert mesh.flows() == []
        assert bpf_mesh.call(mesh.network.pod, SERVICE[4], PORT)[:2] == [SERVICE[4], "four"]
        [report] = mesh.wait_for_flows(1)
        assert report.path == "relay"
        wait_for(lambda: "detached" in bpf_mesh.paths()["splice"], "that, too")
    row = bpf_mesh.edgemesh("get", "services", "-o", "wide").splitlines()[1]
    assert "detached by somebody else" in row


def test_flows_in_a_gate_that_is_unloaded_by_force_end_and_do_not_hang(bpf_mesh: BpfMesh) -> None:
    mesh = bpf_mesh.mesh
    bpf_mesh.start()
    mesh.apply(*web(), traffic_policy(path="splice"))
    with TcpServer(mesh.network.server, (SERVER[4], 8080), echo_lines):
        bpf_mesh.wait_for_paths()
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            for _ in range(40):
                connection.sendall(b"word\n")
                assert received(connection, 5) == b"word\n"
            bpf_mesh.edgemesh("bpf", "unload", "--force")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        [report] = mesh.wait_for_flows(1)
        assert report.reason == "its program was detached by somebody else"
        with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
            connection.sendall(b"word\n")
            assert received(connection, 5) == b"word\n"


def test_an_agent_without_bpf_says_so_and_relays(bpf_mesh: BpfMesh) -> None:
    bpf_mesh.start(enabled=False)
    paths = bpf_mesh.paths()
    assert paths["connect"] == "bpf.enabled is false"
    assert paths["splice"] == "available for large transfers; small messages: bpf.enabled is false"


def test_a_directory_where_nothing_can_be_pinned_is_the_reason(bpf_mesh: BpfMesh) -> None:
    directory = bpf_mesh.mesh.directory / "pins"
    bpf_mesh.start(directory=str(directory))
    assert str(directory) in bpf_mesh.wait_for_paths()["connect"]
