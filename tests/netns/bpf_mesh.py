"""A mesh whose agent may use BPF, for a cgroup of the test's own, and callers in that cgroup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bpf_programs import made_cgroup
from lab_homes import wait_for
from mesh import Mesh, new_mesh

from edgemesh.kernel.bpf.loader import unload
from edgemesh.lab.cgroups import command_in as in_cgroup
from edgemesh.lab.network import command_in
from edgemesh.model.bpf_settings import BpfSettings

PINS = Path("/sys/fs/bpf")
# Loading takes some seconds, more where several do so at the same time.
LOADING_SECONDS = 90.0
# A path that a self-test gives up, for the machine stood still, is not used by that agent any more.
SELF_TEST_SECONDS = 150.0
# Calls and prints what it sees: the address of its peer, then the first line.
_CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as connection:
    print(connection.getpeername()[0], connection.makefile().readline().strip())
"""


@dataclass
class BpfMesh:
    """A mesh, its cgroup, and where its agent pins what it loads."""

    mesh: Mesh
    cgroup: Path
    directory: Path

    @property
    def settings(self) -> BpfSettings:
        return BpfSettings(directory=self.directory, cgroup=str(self.cgroup))

    @property
    def table(self) -> dict[str, object]:
        """What its agent's configuration says of BPF."""
        return {
            "enabled": True,
            "cgroup": str(self.cgroup),
            "directory": str(self.directory),
            "self_test_seconds": SELF_TEST_SECONDS,
        }

    def start(self, **bpf: object) -> None:
        """Start the agent; returns when it serves, which it does before BPF is loaded."""
        self.mesh.start(bpf={**self.table, **bpf})

    def paths(self) -> dict[str, str]:
        found: dict[str, str] = self.mesh.status()["paths"]
        return found

    def wait_for_paths(self) -> dict[str, str]:
        """The paths as they are when everything has been looked at."""
        wait_for(lambda: self.paths()["connect"] != "being loaded", "loaded", LOADING_SECONDS)
        return self.paths()

    def call(self, namespace: str, address: str, port: int) -> list[str]:
        """Call from a process in the cgroup: its peer's address, and words that it hears."""
        argv = command_in(namespace, [sys.executable, "-c", _CALL, address, str(port)])
        done = subprocess.run(
            in_cgroup(self.cgroup, argv), capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.split()

    def edgemesh(self, *words: str) -> str:
        """What a command prints that an operator gives on the node, in the cgroup."""
        options = ["--config", str(self.mesh.config)]
        argv = [sys.executable, "-m", "edgemesh.cli.main", *words, *options]
        done = subprocess.run(
            in_cgroup(self.cgroup, command_in(self.mesh.network.node, argv)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout


@contextmanager
def new_bpf_mesh() -> Iterator[BpfMesh]:
    """A mesh of its own; its agent is not started yet."""
    with made_cgroup() as cgroup:
        directory = PINS / f"test-{uuid4().hex[:12]}"
        try:
            with new_mesh() as mesh:
                yield BpfMesh(mesh, cgroup, directory)
        finally:
            # What an agent left that was killed.
            unload(BpfSettings(directory=directory))
