"""The agents of a lab's nodes: configured, started, waited for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import trio

from edgemesh.lab import bpf, plan, processes
from edgemesh.lab.configuration import Tables, environment, merged, write_toml
from edgemesh.lab.network import command_in
from edgemesh.lab.parallel import in_parallel
from edgemesh.lab.patience import patient, ready_seconds
from edgemesh.lab.plan import Node
from edgemesh.lab.processes import Process
from edgemesh.lab.state import Home, State, save
from edgemesh.meta.client import AgentGoneError, connect
from edgemesh.meta.errors import RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings, NetfilterSettings
from edgemesh.wire.message import Operation

_ASK_AGAIN_SECONDS = 0.02
_STATUS = "null/status"


def write_config(home: Home, node: Node, tables: Tables) -> None:
    """Write a node's configuration.

    Names that are no Services' are asked for at the switch, where nobody answers: a lab never
    reaches out. ``tables`` are further settings, by the name of their TOML table.
    """
    directory = home.node_directory(node.name)
    for path in (directory, directory / "state", directory / "run"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    upstream = directory / "resolv.conf"
    upstream.write_text(f"nameserver {plan.switch_addresses()[0]}\n")
    own: Tables = {
        "": {
            "node": node.name,
            "state_dir": str(directory / "state"),
            "run_dir": str(directory / "run"),
        },
        "dns": {"resolv_conf": str(upstream)},
        "bpf": bpf.settings(node),
        "netfilter": {"watchdog_seconds": patient(NetfilterSettings().watchdog_seconds)},
    }
    write_toml(home.agent_config(node.name), merged(own, tables))


async def start_agents(home: Home, state: State, nodes: Iterable[Node]) -> State:
    """Start the agents of nodes and wait until each intercepts calls.

    Raises:
        OperatorError: one ended, or was not ready in time; the last line of its log is told.
    """
    started = list(nodes)
    agents = {**state.agents, **{node.name: _start(home, node) for node in started}}
    state = replace(state, agents=agents)
    save(home, state)
    await in_parallel(
        partial(_wait_until_ready, home, node.name, agents[node.name]) for node in started
    )
    return state


async def stop_agents(
    home: Home, state: State, nodes: Iterable[str], grace_seconds: float
) -> State:
    """End the agents of nodes."""
    stopped = set(nodes)
    await processes.end(
        (agent for node, agent in state.agents.items() if node in stopped), grace_seconds
    )
    agents = {node: agent for node, agent in state.agents.items() if node not in stopped}
    state = replace(state, agents=agents)
    save(home, state)
    return state


def _start(home: Home, node: Node) -> Process:
    run = ["-m", "edgemesh.cli.main", "run", "--config", str(home.agent_config(node.name))]
    argv = bpf.command_on(node, command_in(node.namespace, [sys.executable, *run]))
    return processes.start(argv, home.agent_log(node.name), environment())


async def _wait_until_ready(home: Home, node: str, agent: Process) -> None:
    with trio.move_on_after(ready_seconds()):
        while not await _intercepts(home, node):
            if not agent.alive:
                raise _failed(home, node, "ended")
            await trio.sleep(_ASK_AGAIN_SECONDS)
        return
    raise _failed(home, node, f"does not intercept after {ready_seconds():g} s")


async def _intercepts(home: Home, node: str) -> bool:
    try:
        async with connect(home.agent_socket(node), MetaSettings()) as client:
            status = await client.request(Operation.QUERY, _STATUS)
    except (AgentGoneError, RefusedError):
        # Not listening yet, or with parts still missing.
        return False
    interception = status["interception"]
    if not interception["enabled"] or not interception["needed"]:
        return True
    return bool(interception["installed"])


def _failed(home: Home, node: str, how: str) -> OperatorError:
    log = home.agent_log(node)
    return OperatorError(f"the agent of {node} {how}: {processes.last_line(log)}")
