"""A real cloud, run and spoken to as an operator does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.processes import check_alive, finished, started
from edgemesh.app.ask import ask_agent
from edgemesh.meta.client import AgentGoneError
from edgemesh.model.cloud_status import CloudStatus
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings

_COMMAND = str(Path(sys.executable).with_name("edgemesh"))
_READY_SECONDS = 30
_LOOK_AGAIN_SECONDS = 0.05
_CONFIG = """\
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[cloud]
name = "bench"
names = ["{address}"]
"""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud that two nodes join.

    Args:
        namespace: where it runs.
        address: that nodes dial.
        directory: for configuration, store, socket and log; with a short path.
    """

    namespace: str
    address: str
    directory: Path

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.directory / "log"

    @property
    def _config(self) -> Path:
        return self.directory / "edgemesh.toml"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[trio.Process]:
        """Run it until the block is left; nodes can join when it is entered.

        Raises:
            OperatorError: it ended, or it takes too long.
        """
        await trio.Path(self.directory).mkdir()
        config = _CONFIG.format(directory=self.directory, address=self.address)
        await trio.Path(self._config).write_text(config)
        command = [_COMMAND, "cloud", "--config", str(self._config)]
        async with started(self.namespace, command, self.log) as process:
            await self._until_ready(process)
            yield process

    async def apply(self, manifest: Path) -> None:
        """Apply a manifest by the command.

        Raises:
            OperatorError: it was refused; with the command's own words.
        """
        command = [_COMMAND, "apply", "-f", str(manifest), "--config", str(self._config)]
        await finished(self.namespace, command)

    async def settings_of(self, node: str) -> str:
        """What a node has to know to join: TOML; it holds a token that only the node can use.

        Raises:
            OperatorError: the cloud makes none.
        """
        command = [_COMMAND, "cloud", "token", "--config", str(self._config), "--node", node]
        token = self.directory / f"{node}.token"
        await trio.Path(token).write_text(await finished(self.namespace, command))
        await trio.Path(token).chmod(0o600)
        return f'[bus]\ncloud = "{self.address}"\ntoken_file = "{token}"\n'

    async def _until_ready(self, process: trio.Process) -> None:
        with trio.move_on_after(_READY_SECONDS):
            while not await self._serves():
                check_alive(process, "the cloud", self.log)
                await trio.sleep(_LOOK_AGAIN_SECONDS)
            return
        raise OperatorError(f"the cloud is not ready after {_READY_SECONDS} s")

    async def _serves(self) -> bool:
        try:
            socket = self.directory / "run" / "meta.sock"
            status = await ask_agent(socket, MetaSettings(), "null/status", CloudStatus)
        except AgentGoneError:
            return False
        return bool(status.listeners)
