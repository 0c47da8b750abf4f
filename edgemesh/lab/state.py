"""What a lab remembers from one command to the next: one JSON file, replaced whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from edgemesh.lab.plan import Node, check_name
from edgemesh.lab.processes import Process
from edgemesh.lab.workloads import Running
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey

DEFAULT_DIRECTORY = Path("/run/edgemesh-lab")
DEFAULT_NAME = "lab"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that was started.

    Args:
        owner, revision: the workload that it is one of.
        key: its name as an object.
        node: where it runs, in which slot.
        network_namespace: its own.
        app: the built-in app that runs in it.
        environment: of that app, and of what is executed beside it.
        process: the app.
        body: the Pod object.
    """

    owner: ObjectKey
    revision: str
    key: ObjectKey
    node: str
    slot: int
    network_namespace: str
    app: str
    environment: dict[str, str]
    process: Process
    body: dict[str, Any]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, IPv4 and IPv6."""
        return tuple(address["ip"] for address in self.body["status"]["podIPs"])

    @property
    def running(self) -> Running:
        """What a comparison with the manifest needs of it."""
        return Running(self.owner, self.revision, self.key.name, self.node)


@dataclass(frozen=True, slots=True)
class State:
    """A lab.

    Args:
        name: of the lab.
        nodes: all of them.
        agents: the agent of each node, by the node's name; empty without agents.
        hub: the cloud that agents are connected to, None where they stand alone.
        pods: in the order in which they were started.
    """

    name: str
    nodes: tuple[Node, ...]
    agents: dict[str, Process] = field(default_factory=dict)
    hub: Process | None = None
    pods: tuple[Pod, ...] = ()

    def node(self, name: str) -> Node:
        """The node of that name, which must be there."""
        return next(node for node in self.nodes if node.name == name)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a lab keeps its files.

    Args:
        lab: the lab's name.
        directory: its own.
    """

    lab: str
    directory: Path

    @property
    def state_file(self) -> Path:
        """The one file that says what there is."""
        return self.directory / "state.json"

    def node_directory(self, node: str) -> Path:
        """Configuration, store, socket and log of a node's agent."""
        return self.directory / node

    def agent_config(self, node: str) -> Path:
        """The configuration of a node's agent."""
        return self.node_directory(node) / "edgemesh.toml"

    def agent_log(self, node: str) -> Path:
        """What a node's agent writes."""
        return self.node_directory(node) / "agent.log"

    def agent_socket(self, node: str) -> Path:
        """The metamanager's socket of a node's agent."""
        return self.node_directory(node) / "run" / "meta.sock"

    @property
    def hub_directory(self) -> Path:
        """Configuration, store, socket and log of the cloud."""
        return self.directory / "hub"

    @property
    def hub_config(self) -> Path:
        """The configuration of the cloud."""
        return self.hub_directory / "edgemesh.toml"

    @property
    def hub_log(self) -> Path:
        """What the cloud writes."""
        return self.hub_directory / "cloud.log"

    @property
    def hub_socket(self) -> Path:
        """The metamanager's socket of the cloud."""
        return self.hub_directory / "run" / "meta.sock"

    def pod_log(self, key: ObjectKey) -> Path:
        """What a pod's app writes."""
        return self.directory / "pods" / key.namespace / f"{key.name}.log"


def home(lab: str, directory: Path | None = None) -> Home:
    """Where a lab lives, unless a directory is given in the usual place.

    Raises:
        OperatorError: the name cannot be one.
    """
    check_name(lab)
    return Home(lab, directory or DEFAULT_DIRECTORY / lab)


def load(home: Home) -> State:
    """Read the lab's state.

    Raises:
        OperatorError: the lab is not up, or the file is no state.
    """
    try:
        return msgspec.json.decode(home.state_file.read_bytes(), type=State)
    except FileNotFoundError:
        remedy = f"edgemesh lab up --name {home.lab}"
        raise OperatorError(f"there is no lab {home.lab}", remedy) from None
    except msgspec.MsgspecError as error:
        remedy = f"edgemesh lab down --name {home.lab}"
        raise OperatorError(f"{home.state_file}: {error}", remedy) from None


def save(home: Home, state: State) -> None:
    """Replace the state in one step: a reader sees the old or the new one."""
    fresh = home.state_file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(state))
    fresh.replace(home.state_file)


def with_pod(state: State, pod: Pod) -> State:
    """The state with one pod more."""
    return replace(state, pods=(*state.pods, pod))


def without_pod(state: State, pod: Pod) -> State:
    """The state with one pod less."""
    return replace(state, pods=tuple(other for other in state.pods if other is not pod))


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Keep other commands off this lab; the lock ends with the process, however it ends.

    Raises:
        OperatorError: another command works on it.
    """
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OperatorError(f"another command works on lab {home.lab}", "wait for it") from None
    finally:
        os.close(descriptor)
