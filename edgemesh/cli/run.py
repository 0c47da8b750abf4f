"""``edgemesh run``: the agent in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgemesh.app.agent import run_agent
from edgemesh.app.config import load_settings


async def run(
    *,
    config: Path | None = None,
    node: Annotated[str | None, Parameter(help="This node's name in Kubernetes.")] = None,
) -> None:
    """Run the agent of this node until it is told to stop (SIGTERM, Ctrl-C).

    Args:
        config: TOML file; default /etc/edgemesh/edgemesh.toml where it exists.
        node: overrides the host's name.
    """
    await run_agent(load_settings(config, {"node": node}))
