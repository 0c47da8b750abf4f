"""Many edge nodes on one cloud: all of them join, and all of them hear of what changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

    def wait_for_all(self, what: str, nodes: int, seconds: float) -> float:
        """Wait until all nodes have heard; when the last did."""
        wait_for(lambda: self._has(what, nodes), f"{nodes} nodes: {what}", seconds)
        return float(self.ask(what)["last"])

    def _has(self, what: str, nodes: int) -> bool:
        time.sleep(0.05)  # noqa: TID251
        return bool(self.ask(what)["nodes"] == nodes)


@contextmanager
def crowd(mesh: Mesh, folder: Path) -> Iterator[Crowd]:
    """The nodes whose certificates are in a folder."""
    program = str(Path(__file__).with_name("crowd_of_nodes.py"))
    argv = command_in(mesh.network.node, [sys.executable, program, ADDRESS, str(folder)])
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
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


def joins_and_hears(mesh: Mesh, cloud: CloudProcess, folder: Path, nodes: int) -> str:
    """Let nodes join, then change something; the times, for people."""
    cloud.apply(
        *(service(f"s{number}", [f"10.96.2.{number}"], [("TCP", 80)]) for number in range(9))
    )
    folder.mkdir()
    enrol(cloud, folder, nodes)
    empty = cloud.resident_bytes()
    began = time.monotonic()
    with crowd(mesh, folder) as crowded:
        wait_for(lambda: cloud.connected() == nodes, f"{nodes} nodes are connected", 60)
        connected = time.monotonic() - began
        synced = crowded.wait_for_all(SYNCED, nodes, 60) - began
        # All have heard of each other, too.
        joined = crowded.wait_for_all(f"n{nodes - 1}", nodes, 300) - began
        per_node = (cloud.resident_bytes() - empty) / nodes
        changed = time.monotonic()
        cloud.apply(service("late", ["10.96.3.1"], [("TCP", 80)]))
        heard = crowded.wait_for_all("late", nodes, 60) - changed
        messages = crowded.ask(SYNCED)["messages"]
    return (
        f"{nodes} nodes: connected in {connected:.1f} s, synced in {synced:.1f} s, told of each "
        f"other in {joined:.1f} s; a change reached all in {heard:.2f} s; "
        f"{per_node / 1024:.0f} KiB of the cloud each; {messages} Messages; "
        f"load {os.getloadavg()[0]:.1f}"
    )


@pytest.mark.long
def test_many_nodes_join_and_all_of_them_hear_of_a_change(
    mesh: Mesh, cloud: CloudProcess, tmp_path: Path
) -> None:
    print(joins_and_hears(mesh, cloud, tmp_path / "nodes", 60))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_nodes_join_and_all_of_them_hear_of_a_change(
    mesh: Mesh, cloud: CloudProcess, tmp_path: Path
) -> None:
    print(joins_and_hears(mesh, cloud, tmp_path / "nodes", 1000))
