"""A real cloud beyond a real agent: ``edgemesh cloud`` in a namespace that the node can reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from interception_lab import SERVER, output
from lab_homes import wait_for
from mesh import Mesh

from edgemesh.lab import processes
from edgemesh.lab.configuration import environment, merged, write_toml
from edgemesh.lab.network import command_in
from edgemesh.lab.processes import Process
from edgemesh.meta.client import AgentGoneError, Client, connect
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

ADDRESS = SERVER[4]
_COMMAND = [sys.executable, "-m", "edgemesh.cli.main", "cloud"]
_GRACE_SECONDS = 20.0


class CloudProcess:
    """The cloud of one node.

    Ownership: `close` ends it, if it runs still; the namespace is the mesh's.
    """

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._process: Process | None = None
        self.token_file = folder / "token"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    @property
    def _config(self) -> Path:
        return self._folder / "cloud.toml"

    @property
    def _socket(self) -> Path:
        return self._folder / "run" / "meta.sock"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self._folder / 'state' / 'edgemesh.db'}"

    def connected(self) -> int:
        """How many nodes are."""
        return len(self.status()["nodes"])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._talk(lambda c: c.request(Operation.QUERY, "null/status"))
        return found

    def metrics(self) -> str:
        """What Prometheus would be told."""
        return output(self._namespace, ["curl", "-sf", "http://127.0.0.1:15020/metrics"])

    def resident_bytes(self) -> int:
        assert self._process is not None
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self) -> float:
        assert self._process is not None
        # proc(5): utime and stime are the 14th and the 15th field; the 2nd may have spaces.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, **tables: Mapping[str, Any]) -> None:
        """Returns when nodes can connect."""
        own: dict[str, Mapping[str, Any]] = {
            "": {"state_dir": str(self._folder / "state"), "run_dir": str(self._folder / "run")},
            "cloud": {"name": "c1", "names": [ADDRESS]},
        }
        write_toml(self._config, merged(own, tables))
        argv = command_in(self._namespace, [*_COMMAND, "--config", str(self._config)])
        self._process = processes.start(argv, self._folder / "log", environment())
        wait_for(self._serves, f"the cloud serves: {self.log}", 30)

    def kill(self) -> None:
        """Kill -9; returns when the process is gone."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        os.waitpid(self._process.pid, 0)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            trio.run(processes.end, [self._process], _GRACE_SECONDS)

    def write_token(self, node: str) -> None:
        self.token_file.write_text(self._command("token", "--node", node))

    def revoke(self, node: str) -> None:
        self._command("revoke", node)

    def _command(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [*_COMMAND, name, *arguments, "--config", str(self._config)],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def apply(self, *bodies: Mapping[str, Any]) -> None:
        """Returns when the cloud has stored it."""
        self._talk(lambda client: client.request(Operation.UPDATE, "all/all", list(bodies)))

    def get(self, resource: str) -> Any:
        return self._talk(lambda client: client.request(Operation.QUERY, resource))

    def delete(self, *keys: ObjectKey) -> None:
        content = [key._asdict() for key in keys]
        self._talk(lambda client: client.request(Operation.DELETE, "all/all", content))

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.alive, self.log
        try:
            status = self.status()
        except AgentGoneError:
            return False
        return bool(status["listeners"])

    def _talk(self, work: Callable[[Client], Any]) -> Any:
        async def talk() -> Any:
            async with connect(self._socket, MetaSettings()) as client:
                return await work(client)

        return trio.run(talk)


@contextmanager
def cloud_of(mesh: Mesh) -> Iterator[CloudProcess]:
    """A cloud where the mesh's server is; it is not started yet."""
    with tempfile.TemporaryDirectory(prefix="cloud-") as folder:
        made = CloudProcess(mesh.network.server, Path(folder))
        try:
            yield made
        finally:
            made.close()


def bus(cloud: CloudProcess, **settings: Any) -> dict[str, Any]:
    """The node's settings that lead to a cloud, with times that suit tests.

    A cloud that stands still for some seconds is not taken for one that is gone.
    """
    return {
        "cloud": ADDRESS,
        "token_file": str(cloud.token_file),
        "keepalive_seconds": 1,
        "silence_seconds": 20,
        "max_retry_seconds": 1,
        **settings,
    }


@contextmanager
def cut(mesh: Mesh) -> Iterator[None]:
    """Nothing passes between the node and its cloud, and nobody is told: half-open."""
    where = mesh.network.server
    rules = (
        "table inet cut {\n"
        " chain from_node { type filter hook input priority 0; tcp dport 10000-10006 drop; }\n"
        " chain to_node { type filter hook output priority 0; tcp sport 10000-10006 drop; }\n"
        "}\n"
    )
    subprocess.run(command_in(where, ["nft", "-f", "-"]), input=rules.encode(), check=True)
    try:
        yield
    finally:
        output(where, ["nft", "delete", "table", "inet", "cut"])


def cloud_status(mesh: Mesh) -> dict[str, Any]:
    """What the agent says of its connection to the cloud."""
    found: dict[str, Any] = mesh.status()["cloud"]
    return found


def wait_until_synced(mesh: Mesh, seconds: float = 20) -> None:
    wait_for(lambda: bool(cloud_status(mesh)["synced"]), f"the node is synced: {mesh.log}", seconds)
