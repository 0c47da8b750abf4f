"""How a command finds the agent."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgemesh.app.config import load_settings
from edgemesh.meta.client import Client, connect
from edgemesh.model.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True)
class AgentOptions:
    """Which agent a command speaks to.

    Args:
        config: the agent's configuration file.
        socket: the agent's socket, instead of the one that the configuration names.
    """

    config: Annotated[Path | None, Parameter(name="--config")] = None
    socket: Annotated[Path | None, Parameter(name="--socket")] = None

    def settings(self) -> Settings:
        """The configuration that agent and command share."""
        return load_settings(self.config)

    def path(self, settings: Settings) -> Path:
        """The socket to try."""
        return self.socket or settings.socket_path

    def connect(self, settings: Settings) -> AbstractAsyncContextManager[Client]:
        """A connection to the agent.

        Raises:
            AgentGoneError: naming the socket that was tried.
        """
        return connect(self.path(settings), settings.meta)


NO_OPTIONS = AgentOptions()
