"""Many edge nodes on one cloud: all of them join, and all of them hear of what changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from cloud_process import ADDRESS, CloudProcess, cloud_of
from crowd_of_nodes import SYNCED
from lab_homes import wait_for
from mesh import Mesh, service

from edgemesh.bus.cloudhub.credentials import open_authority
from edgemesh.bus.pki.identity import Identity, write_identity
from edgemesh.bus.pki.requests import make_request
from edgemesh.lab.configuration import environment
from edgemesh.lab.network import command_in
from edgemesh.model.settings import MetaSettings
from edgemesh.store.authority import AuthorityTable
from edgemesh.store.store import Store

pytestmark = pytest.mark.root

_CERTIFICATE_SECONDS = 86400
_LOOK_SECONDS = 0.2


@pytest.fixture
def cloud(mesh: Mesh) -> Iterator[CloudProcess]:
    with cloud_of(mesh) as made:
        made.start()
        yield made


class Crowd:
    """The process with the nodes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def wait_for(self, what: str, nodes: Collection[str], seconds: float) -> float:
        """Wait until these nodes have heard; when the last did."""
        wanted = set(nodes)
        seldom(lambda: wanted <= set(self.ask(what)["nodes"]), f"{what} is known", seconds)
        return float(self.ask(what)["last"])


def seldom(state: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a state of processes that have better to do than to answer."""

    def look() -> bool:
        time.sleep(_LOOK_SECONDS)  # noqa: TID251
        return state()

    wait_for(look, what, seconds)


@contextmanager
def crowd(mesh: Mesh, folder: Path) -> Iterator[Crowd]:
    """The nodes whose certificates are in a folder; they begin now."""
    program = str(Path(__file__).with_name("crowd_of_nodes.py"))
    argv = command_in(mesh.network.node, [sys.executable, program, ADDRESS, str(folder)])
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["ready"]
            yield Crowd(process)
        finally:
            process.kill()


def enrol(cloud: CloudProcess, folder: Path, nodes: int) -> None:
    """Give nodes certificates of the cloud's authority, all at once."""

    async def issue() -> None:
        store = await Store.open(cloud.store_url, MetaSettings())
        try:
            authority = await open_authority(AuthorityTable(store))
        finally:
            with trio.CancelScope(shield=True):
                await store.close()
        for number in range(nodes):
            name = f"n{number}"
            made = make_request(name)
            issued = authority.issue_node(made.request, name, _CERTIFICATE_SECONDS)
            identity = Identity.within(folder / name, name)
            write_identity(identity, issued, made.key, [authority.der])

    trio.run(issue)


@dataclass(frozen=True)
class Times:
    """Seconds, and what else is told of many nodes.

    Args:
        connected, synced, acquainted: from the start of all nodes until the last of them was
            connected; had everything that there was when it came; knew all others.
        early: until a change has reached all nodes that were connected, while others joined.
        late: the same when all was quiet.
        join_cpu, late_cpu: that the cloud has computed for all of that, and for the late change.
        bytes_each: resident memory of the cloud for each node.
        messages: that all nodes have received.
        load: of the machine.
    """

    nodes: int
    connected: float
    synced: float
    acquainted: float
    early: float
    late: float
    join_cpu: float
    late_cpu: float
    bytes_each: float
    messages: int
    load: float

    def __str__(self) -> str:
        """The times, for people."""
        return (
            f"{self.nodes} nodes: connected in {self.connected:.1f} s, synced in "
            f"{self.synced:.1f} s, told of each other in {self.acquainted:.1f} s; a change "
            f"reached all in {self.late:.2f} s, in {self.early:.2f} s while they joined; "
            f"the cloud computed for {self.join_cpu:.1f} s, and {self.late_cpu:.2f} s; "
            f"{self.bytes_each / 1024:.0f} KiB of the cloud each; {self.messages} Messages; "
            f"load {self.load:.1f}"
        )


def joins_and_hears(mesh: Mesh, cloud: CloudProcess, folder: Path, nodes: int) -> Times:
    """Let nodes join, and change something meanwhile and afterwards."""
    services = [service(f"s{n}", [f"10.96.2.{n}"], [("TCP", 80)]) for n in range(9)]
    cloud.apply(*services)
    folder.mkdir()
    enrol(cloud, folder, nodes)
    names = [f"n{number}" for number in range(nodes)]
    empty, idle = cloud.resident_bytes(), cloud.cpu_seconds()
    with crowd(mesh, folder) as crowded:
        began = time.monotonic()
        seldom(lambda: cloud.connected() >= nodes // 2, "half of the nodes are connected", 60)
        here = [each["node"] for each in cloud.status()["nodes"]]
        changed = time.monotonic()
        cloud.apply(service("early", ["10.96.3.1"], [("TCP", 80)]))
        early = crowded.wait_for("default/service/early", here, 60) - changed
        seldom(lambda: cloud.connected() == nodes, f"{nodes} nodes are connected", 60)
        connected = time.monotonic() - began
        synced = crowded.wait_for(SYNCED, names, 60) - began
        objects = nodes + len(services) + 1
        seldom(lambda: crowded.ask("")["fewest_objects"] >= objects, "all know all", 300)
        acquainted = time.monotonic() - began
        seldom(lambda: all(not each["waiting"] for each in cloud.status()["nodes"]), "quiet", 60)
        bytes_each = (cloud.resident_bytes() - empty) / nodes
        join_cpu = cloud.cpu_seconds() - idle
        changed, idle = time.monotonic(), cloud.cpu_seconds()
        cloud.apply(service("late", ["10.96.3.2"], [("TCP", 80)]))
        late = crowded.wait_for("default/service/late", names, 60) - changed
        late_cpu = cloud.cpu_seconds() - idle
        messages = crowded.ask(SYNCED)["messages"]
    load = os.getloadavg()[0]
    return Times(
        nodes=nodes,
        connected=connected,
        synced=synced,
        acquainted=acquainted,
        early=early,
        late=late,
        join_cpu=join_cpu,
        late_cpu=late_cpu,
        bytes_each=bytes_each,
        messages=messages,
        load=load,
    )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("nodes", [60, 300, 1000])
def test_many_nodes_join_within_a_minute_and_hear_of_a_change_within_seconds(
    mesh: Mesh, cloud: CloudProcess, tmp_path: Path, nodes: int
) -> None:
    times = joins_and_hears(mesh, cloud, tmp_path / "nodes", nodes)
    print(times)
    assert times.connected < 60
    assert times.synced < 60
    assert times.late < 5
    assert times.bytes_each < 384 * 1024
