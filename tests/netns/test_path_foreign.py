"""Another tool has the agent's sockets in a sockmap: it is named, left alone and lived with."""

from __future__ import annotations

import pathlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
from bpf_mesh import PINS, BpfMesh, new_bpf_mesh
from bpf_samples import only
from interception_lab import PORT, SERVER, SERVICE, call
from mesh import web
from mesh_servers import TcpServer, echo, read_to_end

from edgemesh.app.bpf_prerequisites import check_bpf
from edgemesh.kernel.bpf.foreign import foreign_at_cgroup, foreign_on_sockmaps
from edgemesh.kernel.bpf.loader import load, unload
from edgemesh.kernel.bpf.programs import Group, Program
from edgemesh.kernel.bpf.syscall import AttachType, ProgramType
from edgemesh.model.flows import Mover
from edgemesh.model.policies import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

# For all that is sent at once, too (socket.sendall).
PATIENCE_SECONDS = 30.0
TOOL = """
#include <uapi/linux/bpf.h>
BPF_SOCKHASH(their_sockets, u64, 1024);
int their_collector(struct bpf_sock_ops *socket)
{
    u64 cookie = bpf_get_socket_cookie(socket);
    if (socket->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
        their_sockets.sock_hash_update(socket, &cookie, BPF_NOEXIST);
    return 1;
}
int their_verdict(struct __sk_buff *skb)
{
    return SK_PASS;
}
"""
PROGRAMS = (
    Program("their_collector", ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    Program("their_verdict", ProgramType.SK_SKB, AttachType.SK_SKB_VERDICT, "their_sockets"),
)
NAMES = {program.function for program in PROGRAMS}


@contextmanager
def tool(mesh: BpfMesh, folder: pathlib.Path) -> Iterator[None]:
    """It takes each connection that a process of the cgroup makes."""
    source = folder / "tool.bpf.c"
    source.write_text(TOOL)
    settings = replace(mesh.settings, directory=PINS / f"test-{uuid4().hex[:12]}")
    loaded = load(settings, owner="operator", loading=only(Group("tool", str(source), PROGRAMS)))
    assert loaded.groups["tool"] == ""
    try:
        yield
    finally:
        unload(settings)


def theirs(mesh: BpfMesh) -> set[str]:
    """The tool's programs that are there."""
    found = [
        *foreign_at_cgroup(mesh.cgroup, [AttachType.CGROUP_SOCK_OPS], own=()),
        *foreign_on_sockmaps(own=()),
    ]
    return NAMES & {program.name for program in found}


def say_and_end(connection: socket.socket, words: bytes) -> None:
    connection.sendall(words)
    connection.shutdown(socket.SHUT_WR)


def test_flows_that_another_tool_has_taken_are_relayed(tmp_path: pathlib.Path) -> None:
    much = random.Random(1).randbytes(4_000_000)
    with new_bpf_mesh() as made, tool(made, tmp_path):
        mesh = made.mesh
        made.start()
        (made.cgroup / "cgroup.procs").write_text(str(mesh.agent.pid))
        mesh.apply(*web("tcp"))
        small_messages = made.wait_for_paths()[Path.SPLICE].partition("small messages: ")[2]
        assert "their_verdict" in small_messages
        with (
            TcpServer(mesh.network.server, (SERVER[4], 8080), echo),
            closing(
                call(mesh.network.pod, SERVICE[4], PORT, timeout=PATIENCE_SECONDS)
            ) as connection,
        ):
            for number in range(100):
                said = b"%08d" % number
                connection.sendall(said)
                assert connection.recv(8) == said
            sender = threading.Thread(target=say_and_end, args=[connection, much])
            sender.start()
            assert read_to_end(connection) == much
            sender.join()
        (report,) = mesh.wait_for_flows(1)
        assert Mover.SOCKMAP not in report.movers
        named = [check.what for check in check_bpf(made.settings)]
        assert all(any(name in what for what in named) for name in NAMES)
        mesh.stop()
        assert theirs(made) == NAMES
