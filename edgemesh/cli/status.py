"""``edgemesh status``: what the running agent does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from edgemesh.app.ask import ask_agent
from edgemesh.app.config import load_settings
from edgemesh.cli.status_page import status_page
from edgemesh.model.status import AgentStatus


async def status(
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    config: Path | None = None,
    socket: Path | None = None,
) -> None:
    """Show what the agent of this node does.

    Args:
        json: as one JSON object.
        config: TOML file; default /etc/edgemesh/edgemesh.toml where it exists.
        socket: the metamanager's socket; default as configured.
    """
    settings = load_settings(config)
    answer = await ask_agent(
        socket or settings.socket_path, settings.meta, "null/status", AgentStatus
    )
    print(msgspec.json.encode(answer).decode() if json else status_page(answer))
