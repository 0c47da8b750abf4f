"""The cloud of a lab: ``edgemesh cloud`` on the cloud's node, to which all agents connect.

Objects are applied there, and reach the agents by it; without it a lab writes them to each agent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from edgemesh.lab import plan, processes
from edgemesh.lab.configuration import Tables, environment, merged, write_toml
from edgemesh.lab.network import command_in
from edgemesh.lab.parallel import in_parallel
from edgemesh.lab.patience import ready_seconds
from edgemesh.lab.plan import Node
from edgemesh.lab.processes import Process
from edgemesh.lab.state import Home, State, save
from edgemesh.meta.client import AgentGoneError, connect
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

# The cloud's node has an agent, too, which has the usual port.
_ADMIN = "127.0.0.1:15021"
_ASK_AGAIN_SECONDS = 0.02


def agent_tables(home: Home, node: Node) -> Tables:
    """What an agent's configuration says about the cloud."""
    cloud = plan.cloud_of(home.lab)
    return {"bus": {"cloud": cloud.addresses[0], "token_file": str(_token_file(home, node))}}


def write_config(home: Home, tables: Tables) -> None:
    """Write the cloud's configuration; ``tables`` are further settings."""
    directory = home.hub_directory
    for path in (directory, directory / "state", directory / "run"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    own: Tables = {
        "": {"state_dir": str(directory / "state"), "run_dir": str(directory / "run")},
        "cloud": {"name": plan.CLOUD, "names": list(plan.cloud_of(home.lab).addresses)},
        "admin": {"listen": _ADMIN},
    }
    write_toml(home.hub_config, merged(own, tables))


async def start(home: Home, state: State) -> State:
    """Start the cloud and wait until nodes can connect.

    Raises:
        OperatorError: it ended, or was not ready in time; the last line of its log is told.
    """
    cloud = plan.cloud_of(home.lab)
    argv = [sys.executable, "-m", "edgemesh.cli.main", "cloud", "--config", str(home.hub_config)]
    process = processes.start(command_in(cloud.namespace, argv), home.hub_log, environment())
    state = replace(state, hub=process)
    save(home, state)
    await _wait_until_ready(home, process)
    return state


async def stop(home: Home, state: State, grace_seconds: float) -> State:
    """End the cloud; at once where there is no grace."""
    if state.hub is not None:
        await processes.end([state.hub], grace_seconds)
    state = replace(state, hub=None)
    save(home, state)
    return state


async def write_tokens(home: Home, nodes: Iterable[Node]) -> None:
    """Give each node a token of its own, with which it enrols at its first start.

    Raises:
        OperatorError: the cloud makes none.
    """
    await in_parallel(partial(_write_token, home, node) for node in nodes)


async def _write_token(home: Home, node: Node) -> None:
    argv = [sys.executable, "-m", "edgemesh.cli.main", "cloud", "token"]
    done = await trio.run_process(
        [*argv, "--config", str(home.hub_config), "--node", node.name],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(),
    )
    if done.returncode != 0:
        raise OperatorError(f"no token for {node.name}: {done.stderr.decode().strip()}")
    file = _token_file(home, node)
    file.touch(mode=0o600)
    file.write_bytes(done.stdout)


def _token_file(home: Home, node: Node) -> Path:
    return home.node_directory(node.name) / "token"


async def _wait_until_ready(home: Home, process: Process) -> None:
    with trio.move_on_after(ready_seconds()):
        while not await _answers(home):
            if not process.alive:
                raise _failed(home, "ended")
            await trio.sleep(_ASK_AGAIN_SECONDS)
        return
    raise _failed(home, f"is not ready after {ready_seconds():g} s")


async def _answers(home: Home) -> bool:
    try:
        async with connect(home.hub_socket, MetaSettings()) as client:
            status = await client.request(Operation.QUERY, "null/status")
    except AgentGoneError:
        return False
    return bool(status["listeners"])


def _failed(home: Home, how: str) -> OperatorError:
    return OperatorError(f"the cloud {how}: {processes.last_line(home.hub_log)}")
