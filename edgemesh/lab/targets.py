"""What a user means by a word: a node, a pod, or some pod of a Deployment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemesh.lab import bpf
from edgemesh.lab.network import command_with_resolver
from edgemesh.lab.plan import Node
from edgemesh.lab.state import Home, Pod, State
from edgemesh.model.errors import OperatorError

# What a program on a terminal needs, besides its container's variables.
_TERMINAL_VARIABLES = ("TERM", "LANG", "HOME")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command is executed.

    Args:
        node: that is meant, or that the pod runs on.
        network_namespace: its network.
        environment: the whole of it.
        log: what its agent, or its app, writes.
    """

    node: Node
    network_namespace: str
    environment: Mapping[str, str]
    log: Path

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs a program there, as the same process."""
        return bpf.command_on(self.node, command_with_resolver(self.network_namespace, argv))


def find_target(home: Home, state: State, word: str) -> Target:
    """The node or pod that a word means.

    Args:
        home: of the lab.
        state: of the lab.
        word: a node's name, a pod's name, or a Deployment's name for the first of its pods; the
            last two with or without ``namespace/``.

    Raises:
        OperatorError: there is none, naming those that there are.
    """
    for node in state.nodes:
        if node.name == word:
            log = home.agent_log(node.name)
            return Target(node, node.namespace, _on_node(home, node.name), log)
    pod = find_pod(state, word)
    terminal = {name: os.environ[name] for name in _TERMINAL_VARIABLES if name in os.environ}
    environment = {**terminal, **pod.environment}
    log = home.pod_log(pod.key)
    return Target(state.node(pod.node), pod.network_namespace, environment, log)


def _on_node(home: Home, node: str) -> dict[str, str]:
    """Our own environment, in which ``edgemesh`` is at hand and means the node's agent."""
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "EDGEMESH_CONFIG": str(home.agent_config(node)),
    }


def find_pod(state: State, word: str) -> Pod:
    """The pod that a word means, as in ``find_target``.

    Raises:
        OperatorError: there is none.
    """
    namespace, _, name = word.rpartition("/")
    pods = [pod for pod in state.pods if namespace in ("", pod.key.namespace)]
    for pod in pods:
        if name in (pod.key.name, pod.owner.name):
            return pod
    nodes = ", ".join(node.name for node in state.nodes)
    names = ", ".join(f"{pod.key.namespace}/{pod.key.name}" for pod in state.pods) or "none"
    raise OperatorError(
        f"lab {state.name} has no node, pod or Deployment {word!r}", f"nodes {nodes}; pods {names}"
    )
