"""``edgemesh lab``: nodes and pods on one machine, to try and to test with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from edgemesh.cli.manifests import read_manifests
from edgemesh.lab import cluster, rollout
from edgemesh.lab.state import DEFAULT_NAME, Home, home, load
from edgemesh.lab.targets import find_target
from edgemesh.lab.view import NodeView, PodView, view
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import ManifestLimits

app = App(
    name="lab",
    help="Nodes and pods on this machine, made of network namespaces, to try edgemesh with.",
)


@Parameter(name="*")
@dataclass(frozen=True)
class LabOptions:
    """Which lab a command is about.

    Args:
        name: of the lab; labs of different names do not meet.
        state_dir: where it keeps its files; default /run/edgemesh-lab/NAME.
    """

    name: str = DEFAULT_NAME
    state_dir: Path | None = None

    def home(self) -> Home:
        """The lab that is meant.

        Raises:
            OperatorError: the name cannot be one, or this is not root.
        """
        if os.geteuid() != 0:
            raise OperatorError("a lab is made of network namespaces", "run this as root")
        return home(self.name, self.state_dir)


_THE_LAB = LabOptions()
# A lone - is standard input, not an option.
Files = Annotated[
    list[str], Parameter(name=["--filename", "-f"], negative="", allow_leading_hyphen=True)
]
AsJson = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
async def up(
    *,
    nodes: int = 2,
    agents: bool = True,
    bpf: Annotated[bool, Parameter(negative="")] = False,
    mesh: Annotated[bool, Parameter(negative="")] = False,
    lab: LabOptions = _THE_LAB,
) -> None:
    """Bring up a lab: edge-1, edge-2, ... and cloud, each with an agent.

    Args:
        nodes: how many edge nodes, besides the cloud.
        agents: whether each node gets an agent.
        bpf: whether the agents may use BPF, each for a cgroup of its node's own.
        mesh: whether a cloud joins the agents, and the edge nodes reach nobody else.
        lab: which lab.
    """
    state = await cluster.up(lab.home(), nodes, with_agents=agents, with_bpf=bpf, with_hub=mesh)
    print(f"lab {state.name} is up: {', '.join(node.name for node in state.nodes)}")


@app.command
async def down(*, lab: LabOptions = _THE_LAB) -> None:
    """Remove a lab, however much of it there is.

    Args:
        lab: which lab.
    """
    found = await cluster.down(lab.home())
    print(f"lab {lab.name} is down" if found else f"there is no lab {lab.name}")


@app.command
async def apply(*, filename: Files, lab: LabOptions = _THE_LAB) -> None:
    """Run what manifests ask for, and tell every agent of it.

    Args:
        filename: files, directories, or - for standard input.
        lab: which lab.
    """
    objects = read_manifests(filename, ManifestLimits(), "default")
    for line in await rollout.apply(lab.home(), objects):
        print(line)


@app.command
async def delete(*, filename: Files, lab: LabOptions = _THE_LAB) -> None:
    """Remove what manifests name, and the pods that belong to it.

    Args:
        filename: files, directories, or - for standard input.
        lab: which lab.
    """
    objects = read_manifests(filename, ManifestLimits(), "default")
    for line in await rollout.delete(lab.home(), [one.key for one in objects]):
        print(line)


@app.command
def ls(*, as_json: AsJson = False, lab: LabOptions = _THE_LAB) -> None:
    """Show the nodes and pods of a lab.

    Args:
        as_json: as JSON.
        lab: which lab.
    """
    seen = view(load(lab.home()))
    if as_json:
        print(json.dumps(seen, indent=2))
        return
    _print_table(("NODE", "ZONE", "IPV4", "IPV6", "AGENT"), [_node_row(x) for x in seen["nodes"]])
    if seen["pods"]:
        print()
        headings = ("NAMESPACE", "POD", "NODE", "IPV4", "IPV6", "APP", "STATE")
        _print_table(headings, [_pod_row(x) for x in seen["pods"]])


@app.command(name="exec")
def execute(
    target: str,
    /,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    lab: LabOptions = _THE_LAB,
) -> None:
    """Execute a command on a node or in a pod: ``edgemesh lab exec POD -- curl http://web``.

    Args:
        target: a node, a pod, or a Deployment for the first of its pods.
        command: and its arguments, after ``--``.
        lab: which lab.
    """
    if not command:
        raise OperatorError("no command to execute", "put it after --")
    place = lab.home()
    found = find_target(place, load(place), target)
    _become(found.command(command), found.environment)


@app.command
def logs(
    target: str,
    /,
    *,
    follow: Annotated[bool, Parameter(negative="")] = False,
    lab: LabOptions = _THE_LAB,
) -> None:
    """Show what the agent of a node, or the app in a pod, has written.

    Args:
        target: a node, a pod, or a Deployment for the first of its pods.
        follow: go on until Ctrl-C.
        lab: which lab.
    """
    place = lab.home()
    log = find_target(place, load(place), target).log
    if not log.exists():
        raise OperatorError(f"{target} has written no log")
    _become(["tail", "-n", "+1", *(["-F"] if follow else []), str(log)], os.environ)


def _become(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Turn into another program, so that the terminal, signals and the exit code are its own."""
    sys.stdout.flush()
    os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606


def _node_row(node: NodeView) -> tuple[str, ...]:
    return (node["name"], node["zone"], *node["addresses"], node["agent"])


def _pod_row(pod: PodView) -> tuple[str, ...]:
    return (
        pod["namespace"],
        pod["name"],
        pod["node"],
        *pod["addresses"],
        pod["app"],
        "running" if pod["running"] else "ended",
    )


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("   ".join(cells).rstrip())
