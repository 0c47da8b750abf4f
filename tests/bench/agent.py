"""A real agent, run and spoken to as an operator does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.processes import check_alive, finished, started
from edgemesh.lab import cgroups
from edgemesh.lab.bpf import PINS
from edgemesh.model.errors import OperatorError

_COMMAND = str(Path(sys.executable).with_name("edgemesh"))
_SOCKET_SECONDS = 30
_LOOK_AGAIN_SECONDS = 0.01

# All else is as it comes: TPROXY by nft, rules owned by the process, one log line for each flow.
_CONFIG = """\
node = "{node}"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[netfilter]
family = "ipv4"
install = "{install}"
decision_seconds = 60
[dns]
enabled = false
[bpf]
"""
_WITHOUT_BPF = "enabled = false\n"
# By default it would balance the calls of all processes of the host.
_WITH_BPF = """\
cgroup = "{cgroup}"
directory = "{pins}"
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that may be started again and again upon the same store.

    Args:
        namespace: the node's.
        directory: for configuration, store, socket and log; with a short path.
        more_settings: TOML that follows the usual configuration.
        balanced: the cgroup, by its name, whose calls may be balanced when they connect; "" for
            an agent without BPF.
        install: when rules are, as `NetfilterSettings` has it.
        node: its name.
    """

    namespace: str
    directory: Path
    more_settings: str = ""
    balanced: str = ""
    install: str = "always"
    node: str = "bench"

    @property
    def log(self) -> Path:
        """What the agent writes."""
        return self.directory / "log"

    @property
    def socket(self) -> Path:
        """Where its metamanager answers."""
        return self.directory / "run" / "meta.sock"

    @property
    def _config(self) -> Path:
        return self.directory / "edgemesh.toml"

    @property
    def _bpf(self) -> str:
        if not self.balanced:
            return _WITHOUT_BPF
        # Made with the topology, where there are cgroups of version 2 at all.
        cgroup = cgroups.find(self.balanced)
        if cgroup is None:
            raise OperatorError("no cgroup v2 hierarchy is mounted")
        return _WITH_BPF.format(cgroup=cgroup, pins=PINS / self.namespace)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[trio.Process]:
        """Run it until the block is left."""
        config = _CONFIG.format(node=self.node, directory=self.directory, install=self.install)
        config += self._bpf + self.more_settings
        await trio.Path(self._config).write_text(config)
        command = [_COMMAND, "run", "--config", str(self._config)]
        async with started(self.namespace, command, self.log) as process:
            yield process

    async def until_reachable(self, process: trio.Process) -> None:
        """Wait until its metamanager's socket is there.

        Raises:
            OperatorError: the agent ended, or it takes too long.
        """
        with trio.move_on_after(_SOCKET_SECONDS):
            while not await trio.Path(self.socket).exists():
                check_alive(process, "the agent", self.log)
                await trio.sleep(_LOOK_AGAIN_SECONDS)
            return
        raise OperatorError(f"the agent has no socket after {_SOCKET_SECONDS} s")

    async def apply(self, manifest: Path) -> None:
        """Apply a manifest by the command.

        Raises:
            OperatorError: it was refused; with the command's own words.
        """
        command = [_COMMAND, "apply", "-f", str(manifest), "--config", str(self._config)]
        await finished(self.namespace, command)
