"""``edgemesh status``: what the running agent, or cloud, does."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from edgemesh.app.ask import ask_agent, read_answer
from edgemesh.cli.cloud_page import cloud_page
from edgemesh.cli.connection import NO_OPTIONS, AgentOptions
from edgemesh.cli.status_page import status_page
from edgemesh.model.cloud_status import CloudStatus
from edgemesh.model.status import AgentStatus

_RESOURCE = "null/status"


async def status(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    agent: AgentOptions = NO_OPTIONS,
) -> None:
    """Show what the agent of this node, or the cloud here, does.

    Args:
        as_json: print it as one JSON object.
        agent: which agent.
    """
    settings = agent.settings()
    path = agent.path(settings)
    told = await ask_agent(path, settings.meta, _RESOURCE, dict[str, Any])
    # Only a cloud has replicas.
    if "replicas" in told:
        cloud = read_answer(path, _RESOURCE, told, CloudStatus)
        print(msgspec.json.encode(cloud).decode() if as_json else cloud_page(cloud))
    else:
        answer = read_answer(path, _RESOURCE, told, AgentStatus)
        print(msgspec.json.encode(answer).decode() if as_json else status_page(answer))
