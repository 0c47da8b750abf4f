"""The last promise: what edgemesh put into the kernel is taken out again, all of it."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Mapping

from edgemesh.lab import cluster
from edgemesh.lab.demo.script import Outcome
from edgemesh.lab.demo.stage import Stage, StepFailedError

_SHOWN = (
    "nft list ruleset",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
)
_NODE = "edge-1"

Traces = Mapping[str, str]


async def traces(stage: Stage) -> Traces:
    """What the kernel of a node has been told, by the command that shows it."""
    caller = stage.caller(_NODE)
    return {command: await stage.run(caller, command.split()) for command in _SHOWN}


async def remove_without_a_trace(stage: Stage, before: Traces) -> Outcome:
    """Install and remove the rules of a node whose agent has ended.

    Args:
        stage: with no pods any more.
        before: taken when no agent had ever run.
    """
    caller = stage.caller(_NODE)
    await cluster.stop_agents(stage.home, [_NODE])
    _require_equal("the agent has ended", before, await traces(stage))
    config = ["--config", str(stage.home.agent_config(_NODE))]
    edgemesh = [sys.executable, "-m", "edgemesh.cli.main"]
    await stage.run(caller, [*edgemesh, "netfilter", "install", *config])
    installed = await traces(stage)
    if installed == before:
        raise StepFailedError("netfilter install has changed nothing")
    await stage.run(caller, [*edgemesh, "netfilter", "remove", *config])
    _require_equal("netfilter remove", before, await traces(stage))
    lines = sum(len(text.splitlines()) for text in installed.values()) - sum(
        len(text.splitlines()) for text in before.values()
    )
    return Outcome(
        "edgemesh netfilter install, and then edgemesh netfilter remove",
        f"{caller.description}, its agent stopped",
        f"{', '.join(map(shlex.quote, _SHOWN))}: {lines} lines more in between, and now exactly"
        " as before the first agent ran",
    )


def _require_equal(after: str, before: Traces, now: Traces) -> None:
    for command, text in before.items():
        changed = [
            line
            for line in difflib.unified_diff(text.splitlines(), now[command].splitlines(), n=0)
            if not line.startswith(("---", "+++", "@@"))
        ]
        if changed:
            raise StepFailedError(f"after {after}, {command} differs: {'; '.join(changed)}")
