"""Pods on a real machine: the kubelet and the scheduler of the Vagrant lab.

The lab's nodes are machines of their own there, each with an agent of the host; only pods are
network namespaces. Which pod is where, and with which address, follows from the manifest alone,
so machines need not tell each other.

    python -m edgemesh.lab.machine run NODE MANIFEST ...    in each machine, for its pods
    python -m edgemesh.lab.machine objects MANIFEST ...     what to apply in the cloud
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import trio
import yaml

from edgemesh.lab import plan, topology
from edgemesh.lab.network import RUN_NETNS
from edgemesh.lab.plan import Node
from edgemesh.lab.pods import start_pod
from edgemesh.lab.state import Home
from edgemesh.lab.workloads import Workload, node_body, pod_body, workload_of
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import ManifestObject, read_manifest

_LAB = "machines"
_EDGE_NODES = 2
_HOME = Path("/run/edgemesh-machine")
# Of vagrant/Vagrantfile: the cloud first, then the edge nodes.
_FIRST_ADDRESS = IPv4Address("192.168.56.10")


@dataclass(frozen=True, slots=True)
class Placed:
    """A Pod of the manifest and its place.

    Args:
        workload: the Pod.
        node: where it runs.
        slot: decides about its address.
    """

    workload: Workload
    node: Node
    slot: int


def place(objects: Sequence[ManifestObject]) -> Iterator[Placed]:
    """Every Pod of a manifest with the node that it names and the next slot there.

    Raises:
        OperatorError: a Pod names no node of this lab, or something else would have to run.
    """
    nodes = {node.name: node for node in plan.plan_nodes(_LAB, _EDGE_NODES)}
    taken: dict[str, frozenset[int]] = dict.fromkeys(nodes, frozenset())
    for one in objects:
        workload = workload_of(one.key, one.body)
        if workload is None:
            continue
        node = nodes.get(workload.spec.node_name)
        if workload.names_its_pods or node is None:
            raise OperatorError(
                f"{one.key}: machines run Pods whose spec.nodeName is one of {', '.join(nodes)}"
            )
        slot = plan.free_slot(node, taken[node.name])
        taken[node.name] |= {slot}
        yield Placed(workload, node, slot)


def objects_of(objects: Sequence[ManifestObject]) -> list[dict[str, Any]]:
    """What the cloud is told: the Nodes, the Pods as they run, and all else as it is written."""
    pods = {placed.workload.owner: _pod(placed) for placed in place(objects)}
    nodes = [_node(node) for node in plan.plan_nodes(_LAB, _EDGE_NODES)]
    return [*nodes, *(pods.get(one.key, one.body) for one in objects)]


def _node(node: Node) -> dict[str, Any]:
    body = node_body(node)
    internal = {"type": "InternalIP", "address": _address(node)}
    hostname = {"type": "Hostname", "address": node.name}
    return {**body, "status": {**body["status"], "addresses": [internal, hostname]}}


def _pod(placed: Placed) -> dict[str, Any]:
    addresses = placed.node.pod_addresses(placed.slot)
    body = pod_body(placed.workload, placed.workload.owner.name, placed.node, addresses)
    return {**body, "status": {**body["status"], "hostIP": _address(placed.node)}}


def _address(node: Node) -> str:
    return str(_FIRST_ADDRESS + node.number)


async def run(node: str, objects: Sequence[ManifestObject]) -> None:
    """Run the pods of this machine until SIGTERM; whoever started this ends what is in them.

    Raises:
        OperatorError: a pod cannot be run.
    """
    here = [placed for placed in place(objects) if placed.node.name == node]
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        for placed in here:
            await trio.to_thread.run_sync(_make_room, placed)
            pod = await start_pod(Home(_LAB, _HOME), placed.workload, placed.node, placed.slot)
            _say(f"{pod.key.name} {' '.join(pod.addresses)}")
        _say("all pods run")
        await anext(signals)


def _make_room(placed: Placed) -> None:
    """Take away what an earlier run has left of a pod, and give the machine's namespace a name."""
    node = placed.node
    # The lab's code knows both ends of a pod's link by the names of their namespaces.
    if not (RUN_NETNS / node.namespace).exists():
        subprocess.run(["ip", "netns", "attach", node.namespace, "1"], check=True)
    name = placed.workload.owner.name
    topology.remove_pod(node, placed.slot, plan.pod_namespace(node, placed.slot, name))


def _read(path: Path) -> list[ManifestObject]:
    return read_manifest(path.read_bytes(), str(path), ManifestLimits())


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the unit's log


def main() -> int:
    """Read the command line and do what it says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgemesh.lab.machine")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run the pods of a node")
    running.add_argument("node")
    printing = commands.add_parser("objects", help="print what the cloud is told")
    for one in (running, printing):
        one.add_argument("manifests", type=Path, nargs="+")
    options = parser.parse_args()
    try:
        objects = [one for path in options.manifests for one in _read(path)]
        if options.command == "run":
            trio.run(run, options.node, objects)
        else:
            print(yaml.safe_dump_all(objects_of(objects), sort_keys=False), end="")  # noqa: T201
    except OperatorError as error:
        print(f"machine: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
