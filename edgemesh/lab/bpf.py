"""What lets the agents of a lab use BPF without meeting the host's: cgroups, places for pins.

On a real node the agent attaches its programs to the root of the cgroup hierarchy, which is all
of the host. In a lab that was brought up with BPF a node's agent, its pods and what is executed
there run in a cgroup of the node's own, and the agent attaches to that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgemesh.lab import cgroups
from edgemesh.lab.patience import patient
from edgemesh.lab.plan import Node
from edgemesh.model.bpf_settings import BpfSettings

# Where the kernel wants a BPF file system; programs, links and maps are pinned below.
PINS = Path("/sys/fs/bpf")


def make(lab: str, nodes: Iterable[Node]) -> None:
    """Make the cgroups of a lab's nodes.

    Raises:
        OperatorError: no cgroup v2 is mounted.
    """
    for node in nodes:
        cgroups.add(f"{_cgroup(lab)}/{node.name}")


def settings(node: Node) -> dict[str, str | bool | float]:
    """The settings of BPF for a node's agent: off where the node has no cgroup.

    Else it would be about the whole host, which is its default.
    """
    cgroup = _find(node)
    if cgroup is None:
        return {"enabled": False}
    directory = PINS / f"{_pins(node.lab)}{node.name}"
    usual = BpfSettings()
    return {
        "enabled": True,
        "cgroup": str(cgroup),
        "directory": str(directory),
        "build_seconds": patient(usual.build_seconds),
        "self_test_seconds": patient(usual.self_test_seconds),
        "lease_seconds": patient(usual.lease_seconds),
    }


def command_on(node: Node, argv: Sequence[str]) -> list[str]:
    """The command line that runs a program in a node's cgroup, as the same process.

    A node has no cgroup in a lab without BPF; there the program is run as it is.
    """
    cgroup = _find(node)
    return cgroups.command_in(cgroup, argv) if cgroup else list(argv)


def remove(lab: str) -> None:
    """Remove what a lab has of cgroups and pins; processes that are left are killed.

    Raises:
        OperatorError: one of them does not end.
    """
    cgroups.remove(_cgroup(lab))
    for pins in PINS.glob(f"{_pins(lab)}*"):
        shutil.rmtree(pins)


def _find(node: Node) -> Path | None:
    return cgroups.find(f"{_cgroup(node.lab)}/{node.name}")


def _cgroup(lab: str) -> str:
    return f"edgemesh-lab-{lab}"


def _pins(lab: str) -> str:
    """What the names of all directories with pins of this lab, and of no other, start with.

    A lab's name has no underscore in it, and names in a BPF file system no dot.
    """
    return f"edgemesh-lab-{lab}_"
