"""A cgroup for each node, so that BPF balances a lab's calls and nobody else's.

On a real node the agent attaches its programs to the root of the cgroup v2 hierarchy, which is
all of the host. In a lab that was brought up with BPF a node's agent, its pods and what is
executed there run in a cgroup of the node's own, and the agent attaches to that.
Source: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgemesh.lab.plan import Node
from edgemesh.model.errors import OperatorError

# Nothing of a lab's is to meet what an agent of the host pins at its usual place.
_PINS = Path("/sys/fs/bpf")
_MOUNTS = Path("/proc/self/mounts")
_EMPTY_SECONDS = 5.0

# The shell is the process that becomes the program: the program begins as a member.
_ENTER = 'echo $$ >"$0" && exec "$@"'


def make(lab: str, nodes: Iterable[Node]) -> None:
    """Make the cgroups of a lab's nodes.

    Raises:
        OperatorError: no cgroup v2 hierarchy is mounted.
    """
    hierarchy = _hierarchy()
    if hierarchy is None:
        raise OperatorError(
            "a lab with BPF needs cgroup v2, which is not mounted",
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    above = _of_lab(hierarchy, lab)
    above.mkdir(exist_ok=True)
    for node in nodes:
        (above / node.name).mkdir(exist_ok=True)


def settings(node: Node) -> dict[str, str | bool]:
    """The settings of BPF for a node's agent: off where the node has no cgroup.

    Else it would be about the whole host, which is its default.
    """
    cgroup = _cgroup(node)
    if cgroup is None:
        return {"enabled": False}
    # The names of labs have no underscore in them: no lab's prefix begins another's.
    pins = _PINS / f"{_prefix_of_pins(node.lab)}{node.name}"
    return {"enabled": True, "cgroup": str(cgroup), "directory": str(pins)}


def command_on(node: Node, argv: Sequence[str]) -> list[str]:
    """The command line that runs a program in a node's cgroup, as the same process.

    It has to come before what changes the view of the file system. A node has no cgroup in a lab
    without BPF; there the program is run as it is.
    """
    cgroup = _cgroup(node)
    if cgroup is None:
        return list(argv)
    return ["sh", "-c", _ENTER, str(cgroup / "cgroup.procs"), *argv]


def remove(lab: str) -> None:
    """Remove the cgroups and all pinned programs, links and maps of a lab, as far as there are any.

    Processes that are left in the cgroups are killed.

    Raises:
        OperatorError: one of them does not end.
    """
    for pins in _PINS.glob(f"{_prefix_of_pins(lab)}*"):
        shutil.rmtree(pins)
    hierarchy = _hierarchy()
    if hierarchy is not None and _of_lab(hierarchy, lab).exists():
        _remove_tree(_of_lab(hierarchy, lab))


def _remove_tree(directory: Path) -> None:
    """A cgroup's files are the kernel's: only directories are removed, the lowest first."""
    # With all that is below (kernel 5.14).
    (directory / "cgroup.kill").write_text("1")
    _wait_until_empty(directory)
    for below, _, _ in os.walk(directory, topdown=False):
        Path(below).rmdir()


def _wait_until_empty(cgroup: Path) -> None:
    """A process that has ended leaves its cgroup a moment later; the kernel tells when."""
    with (cgroup / "cgroup.events").open() as events:
        change = select.poll()
        change.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            if not change.poll(_EMPTY_SECONDS * 1000):
                raise OperatorError(f"a process does not end in cgroup {cgroup}")
            events.seek(0)


def _cgroup(node: Node) -> Path | None:
    hierarchy = _hierarchy()
    cgroup = _of_lab(hierarchy, node.lab) / node.name if hierarchy else None
    return cgroup if cgroup is not None and cgroup.is_dir() else None


def _of_lab(hierarchy: Path, lab: str) -> Path:
    return hierarchy / f"edgemesh-lab-{lab}"


def _prefix_of_pins(lab: str) -> str:
    return f"edgemesh-lab-{lab}_"


def _hierarchy() -> Path | None:
    """Where cgroup v2 is mounted (proc(5), /proc/mounts)."""
    for line in _MOUNTS.read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None
