"""A lab as a whole: up and down."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence

import trio

from edgemesh.lab import agents, bpf, hub, objects, plan, processes, topology
from edgemesh.lab.configuration import Tables, merged
from edgemesh.lab.plan import Node
from edgemesh.lab.state import Home, State, load, locked, save
from edgemesh.lab.workloads import node_body
from edgemesh.model.errors import OperatorError

_GRACE_SECONDS = 3.0
_CLEAN_UP_SECONDS = 60.0


async def up(
    home: Home,
    edge_nodes: int,
    *,
    with_agents: bool = True,
    with_bpf: bool = False,
    with_hub: bool = False,
    settings: Tables | None = None,
) -> State:
    """Make a lab: its network and, unless they are not wanted, an agent on each node.

    What was made is removed again when something fails.

    Cancellation: removes it too, which takes at most a minute.

    Args:
        home: the lab's name and directory.
        edge_nodes: how many, besides the cloud.
        with_agents: whether agents are started.
        with_bpf: whether the agents may use BPF, each for a cgroup of its node's own.
        with_hub: whether they are joined by a cloud, and the edge nodes reach nobody else.
        settings: of the agents, beyond those that the lab needs: TOML tables by their name.

    Raises:
        OperatorError: the lab exists already, the privilege is missing, an agent failed.
    """
    nodes = plan.plan_nodes(home.lab, edge_nodes)
    with locked(home):
        if home.state_file.exists() or topology.present(home.lab):
            remedy = f"edgemesh lab down --name {home.lab}"
            raise OperatorError(f"lab {home.lab} is up already", remedy)
        state = State(home.lab, nodes)
        save(home, state)
        complete = False
        try:
            await trio.to_thread.run_sync(topology.build, home.lab, nodes)
            if with_bpf:
                bpf.make(home.lab, nodes)
            for node in nodes:
                own = hub.agent_tables(home, node) if with_hub else {}
                agents.write_config(home, node, merged(own, settings or {}))
            if with_hub:
                await trio.to_thread.run_sync(topology.part, nodes)
                state = await _start_hub(home, state, settings or {})
            if with_agents:
                state = await _start_agents(home, state, nodes)
            complete = True
        finally:
            if not complete:
                with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
                    await _remove(home)
    return state


async def start_agents(home: Home, names: Collection[str] = ()) -> State:
    """Start the agents of nodes, and tell each of all nodes of the lab.

    Args:
        home: of the lab.
        names: of the nodes; empty means all that have no agent running.

    Raises:
        OperatorError: there is no such lab, or an agent failed.
    """
    with locked(home):
        state = load(home)
        idle = [node for node in state.nodes if not _has_agent(state, node)]
        return await _start_agents(home, state, [n for n in idle if not names or n.name in names])


async def stop_agents(home: Home, names: Collection[str]) -> State:
    """Let the agents of nodes drain and end.

    Raises:
        OperatorError: there is no such lab.
    """
    with locked(home):
        return await agents.stop_agents(home, load(home), names, _GRACE_SECONDS)


async def join_edges(home: Home) -> None:
    """Let the edge nodes of a lab reach each other, and be reached.

    Raises:
        OperatorError: there is no such lab.
    """
    with locked(home):
        await trio.to_thread.run_sync(topology.join, load(home).nodes)


async def kill_hub(home: Home) -> State:
    """Kill the cloud, as a power cut would.

    Raises:
        OperatorError: there is no such lab.
    """
    with locked(home):
        return await hub.stop(home, load(home), 0)


async def start_hub(home: Home) -> State:
    """Start the cloud of a lab again.

    Raises:
        OperatorError: there is no such lab, or the cloud fails.
    """
    with locked(home):
        return await hub.start(home, load(home))


async def down(home: Home) -> bool:
    """Remove everything of a lab, however much of it there is; whether there was anything.

    Raises:
        OperatorError: another command works on it.
    """
    found = home.directory.exists() or bool(topology.present(home.lab))
    if found:
        with locked(home):
            await _remove(home)
    return found


async def _start_agents(home: Home, state: State, nodes: Sequence[Node]) -> State:
    state = await agents.start_agents(home, state, nodes)
    if state.hub is not None:
        await objects.wait_until_current(home, state)
    elif not home.hub_config.exists():
        await objects.write(home, state, [node_body(node) for node in state.nodes])
    # Else their cloud is away, and they serve what it told them before.
    return state


async def _start_hub(home: Home, state: State, settings: Tables) -> State:
    hub.write_config(home, {"cloud": settings.get("cloud", {})})
    state = await hub.start(home, state)
    await objects.write(home, state, [node_body(node) for node in state.nodes])
    await hub.write_tokens(home, state.nodes)
    return state


def _has_agent(state: State, node: Node) -> bool:
    agent = state.agents.get(node.name)
    return agent is not None and agent.alive


async def _remove(home: Home) -> None:
    """Go by the names of namespaces, not by the state: it may tell less than there is."""
    namespaces = topology.present(home.lab)
    pods = [name for name in namespaces if plan.pod_place(home.lab, name)]
    # Agents last: with no flow left, they have nothing to drain.
    await processes.end_all_in(pods, _GRACE_SECONDS)
    await processes.end_all_in(namespaces, _GRACE_SECONDS)
    await trio.to_thread.run_sync(_remove_files, home, namespaces)


def _remove_files(home: Home, namespaces: list[str]) -> None:
    for namespace in namespaces:
        topology.remove_namespace(namespace)
    bpf.remove(home.lab)
    shutil.rmtree(home.directory)
