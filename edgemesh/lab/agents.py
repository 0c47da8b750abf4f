"""The agents of a lab's nodes: configured, started, waited for, told of objects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from edgemesh.lab import bpf, plan, processes
from edgemesh.lab.network import command_in
from edgemesh.lab.parallel import in_parallel
from edgemesh.lab.plan import Node
from edgemesh.lab.processes import Process
from edgemesh.lab.state import Home, State, save
from edgemesh.meta.client import AgentGoneError, Client, connect
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

Tables = Mapping[str, Mapping[str, Any]]

_READY_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.02
# Every kind in every namespace: the objects in the content tell which.
_EVERYTHING = "all/all"
_STATUS = "null/status"
_LIMITS = MetaSettings()


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
    }
    merged = {name: {**own.get(name, {}), **tables.get(name, {})} for name in {**own, **tables}}
    home.agent_config(node.name).write_text(_toml(merged))


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


async def write_objects(home: Home, state: State, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Apply objects at every agent, as a cloud would: all see the same ClusterIPs.

    The first agent gives Services their addresses, and the others get the Services from there.

    Raises:
        OperatorError: an agent refuses an object or is not there.
    """
    if not bodies or not state.agents:
        return
    first, *others = state.agents
    async with _asked(home, first) as client:
        await client.request(Operation.UPDATE, _EVERYTHING, list(bodies))
        complete = [await _with_addresses(client, body) for body in bodies]
    await in_parallel(partial(_update, home, node, complete) for node in others)


async def delete_objects(home: Home, state: State, keys: Sequence[ObjectKey]) -> None:
    """Delete objects at every agent; one that is not there is passed over.

    Raises:
        OperatorError: an agent is not there.
    """
    if keys:
        await in_parallel(partial(_delete, home, node, keys) for node in state.agents)


async def wait_until_current(home: Home, state: State) -> None:
    """Wait until every agent decides about new flows by everything that was written so far.

    Raises:
        OperatorError: an agent is not there, or does not get there in time.
    """
    await in_parallel(partial(_wait_until_current, home, node) for node in state.agents)


def _asked(home: Home, node: str) -> AbstractAsyncContextManager[Client]:
    return connect(home.agent_socket(node), _LIMITS)


async def _with_addresses(client: Client, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if body["kind"] != "Service":
        return body
    metadata = body["metadata"]
    resource = f"{metadata['namespace']}/service/{metadata['name']}"
    answer: Mapping[str, Any] = await client.request(Operation.QUERY, resource)
    return answer


async def _update(home: Home, node: str, bodies: Sequence[Mapping[str, Any]]) -> None:
    async with _asked(home, node) as client:
        await client.request(Operation.UPDATE, _EVERYTHING, list(bodies))


async def _delete(home: Home, node: str, keys: Sequence[ObjectKey]) -> None:
    async with _asked(home, node) as client:
        try:
            await client.request(Operation.DELETE, _EVERYTHING, _names(keys))
        except RefusedError as refused:
            if refused.code is not Code.NOT_FOUND:
                raise
            present = [key for key in keys if str(key) not in refused.objects]
            await client.request(Operation.DELETE, _EVERYTHING, _names(present))


def _names(keys: Iterable[ObjectKey]) -> list[dict[str, str]]:
    return [key._asdict() for key in keys]


def _start(home: Home, node: Node) -> Process:
    run = ["-m", "edgemesh.cli.main", "run", "--config", str(home.agent_config(node.name))]
    # Variables of edgemesh's own would be the same for every node and win over its file.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EDGEMESH_")
    }
    argv = bpf.command_on(node, command_in(node.namespace, [sys.executable, *run]))
    return processes.start(argv, home.agent_log(node.name), environment)


async def _wait_until_ready(home: Home, node: str, agent: Process) -> None:
    with trio.move_on_after(_READY_SECONDS):
        while not await _intercepts(home, node):
            if not agent.alive:
                raise _failed(home, node, "ended")
            await trio.sleep(_ASK_AGAIN_SECONDS)
        return
    raise _failed(home, node, f"does not intercept after {_READY_SECONDS:g} s")


async def _intercepts(home: Home, node: str) -> bool:
    try:
        async with _asked(home, node) as client:
            status = await client.request(Operation.QUERY, _STATUS)
    except (AgentGoneError, RefusedError):
        # Not listening yet, or with parts still missing.
        return False
    interception = status["interception"]
    if not interception["enabled"] or not interception["needed"]:
        return True
    return bool(interception["installed"])


async def _wait_until_current(home: Home, node: str) -> None:
    """Wait until what has been written is intercepted and decides about new flows."""
    async with _asked(home, node) as client:
        written = (await client.request(Operation.QUERY, _STATUS))["store"]["revision"]
        with trio.move_on_after(_READY_SECONDS):
            # The agent is another process: there is no event to wait for.
            while not _is_current(await client.request(Operation.QUERY, _STATUS), written):  # noqa: ASYNC110
                await trio.sleep(_ASK_AGAIN_SECONDS)
            return
    raise _failed(home, node, f"does not use what was written {_READY_SECONDS:g} s ago")


def _is_current(status: Mapping[str, Any], written: int) -> bool:
    interception = status["interception"]
    intercepted = not interception["enabled"] or interception["revision"] >= written
    return bool(intercepted and status["snapshot"]["revision"] >= written)


def _failed(home: Home, node: str, how: str) -> OperatorError:
    log = home.agent_log(node)
    return OperatorError(f"the agent of {node} {how}: {processes.last_line(log)}")


def _toml(tables: Tables) -> str:
    """Tables as TOML, whose strings, numbers, booleans and arrays are written as in JSON."""
    lines: list[str] = []
    for name in sorted(tables):
        lines += [f"[{name}]"] if name else []
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}"
            for key, value in tables[name].items()
        ]
    return "\n".join([*lines, ""])
