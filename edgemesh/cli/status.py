"""``edgemesh status``: what the running agent does."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from edgemesh.app.ask import ask_agent
from edgemesh.cli.connection import NO_OPTIONS, AgentOptions
from edgemesh.cli.status_page import status_page
from edgemesh.model.status import AgentStatus


async def status(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    agent: AgentOptions = NO_OPTIONS,
) -> None:
    """Show what the agent of this node does.

    Args:
        as_json: print it as one JSON object.
        agent: which agent.
    """
    settings = agent.settings()
    answer = await ask_agent(agent.path(settings), settings.meta, "null/status", AgentStatus)
    print(msgspec.json.encode(answer).decode() if as_json else status_page(answer))
