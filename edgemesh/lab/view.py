"""A lab as people and programs look at it."""

from __future__ import annotations

from typing import TypedDict

from edgemesh.lab.state import State


class NodeView(TypedDict):
    """One node; ``agent`` is ``running``, ``ended`` or ``none``, and ``pid`` 0 without one."""

    name: str
    zone: str
    addresses: list[str]
    network_namespace: str
    agent: str
    pid: int


class PodView(TypedDict):
    """One pod."""

    namespace: str
    name: str
    owner: str
    node: str
    addresses: list[str]
    network_namespace: str
    app: str
    running: bool
    pid: int


class LabView(TypedDict):
    """All of it."""

    name: str
    nodes: list[NodeView]
    pods: list[PodView]


def view(state: State) -> LabView:
    """Look at a lab, with what is alive now."""
    nodes: list[NodeView] = []
    for node in state.nodes:
        agent = state.agents.get(node.name)
        nodes.append(
            {
                "name": node.name,
                "zone": node.zone,
                "addresses": list(node.addresses),
                "network_namespace": node.namespace,
                "agent": "none" if agent is None else "running" if agent.alive else "ended",
                "pid": agent.pid if agent else 0,
            }
        )
    pods: list[PodView] = [
        {
            "namespace": pod.key.namespace,
            "name": pod.key.name,
            "owner": str(pod.owner),
            "node": pod.node,
            "addresses": list(pod.addresses),
            "network_namespace": pod.network_namespace,
            "app": pod.app,
            "running": pod.process.alive,
            "pid": pod.process.pid,
        }
        for pod in state.pods
    ]
    return {"name": state.name, "nodes": nodes, "pods": pods}
