"""Names and addresses of a lab: which network namespaces there are and what is where in them.

A lab is a switch that joins one cloud node and any number of edge nodes. Every node has a number,
and everything else follows from it: cloud 0, ``edge-1`` 1, and so on. Labs are not connected, so
all of them use the same addresses; only the names of their namespaces differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edgemesh.lab.network import Attachment
from edgemesh.model.errors import OperatorError

MAX_EDGE_NODES = 200
MAX_PODS_PER_NODE = 250

CLOUD = "cloud"
BRIDGE = "br0"
DNS_SERVER = "169.254.96.16"
DOMAIN = "cluster.local"

_NODES4, _NODES6 = IPv4Address("10.10.0.0"), IPv6Address("fd00:10::")
_FIRST_NODE = 10
_PODS4, _PODS6 = IPv4Address("10.244.0.0"), IPv6Address("fd00:244::")
_NEXT_POD_NETWORK6 = 1 << 80  # fd00:244:0::, fd00:244:1::, ...
_FIRST_POD = 2
_ROLE = "node-role.kubernetes.io"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_SHORT_NAME_LENGTH = 40
_POD_NAMESPACE = re.compile(r".+\.(?P<node>[0-9]+)-(?P<slot>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Args:
        lab: the lab's name.
        name: of the Node object.
        number: 0 is the cloud.
    """

    lab: str
    name: str
    number: int

    @property
    def is_cloud(self) -> bool:
        """Whether it stands in the cloud."""
        return self.number == 0

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"{prefix(self.lab)}{self.name}"

    @property
    def zone(self) -> str:
        """Where it stands: the edge nodes are spread over two places."""
        return CLOUD if self.is_cloud else "edge-a" if self.number % 2 else "edge-b"

    @property
    def addresses(self) -> tuple[str, str]:
        """Its own addresses, IPv4 and IPv6."""
        host = _FIRST_NODE + self.number
        return str(_NODES4 + host), str(_NODES6 + host)

    @property
    def pod_networks(self) -> tuple[str, str]:
        """The prefixes of its pods' addresses, IPv4 and IPv6."""
        return (
            f"{_PODS4 + (self.number << 8)}/24",
            f"{_PODS6 + self.number * _NEXT_POD_NETWORK6}/64",
        )

    @property
    def pod_gateways(self) -> tuple[str, str]:
        """The node's addresses towards its pods."""
        return self.pod_addresses(1)

    def pod_addresses(self, slot: int) -> tuple[str, str]:
        """Addresses, IPv4 and IPv6, of the pod in a slot of this node."""
        return (
            str(_PODS4 + (self.number << 8) + slot),
            str(_PODS6 + self.number * _NEXT_POD_NETWORK6 + slot),
        )

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Node object, as KubeEdge gives them to a node that joins."""
        roles = {} if self.is_cloud else {f"{_ROLE}/edge": "", f"{_ROLE}/agent": ""}
        return {
            **roles,
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": self.zone,
        }


def check_name(lab: str) -> None:
    """Refuse what cannot be the name of a lab.

    Raises:
        OperatorError: it is not a short DNS label.
    """
    if not _NAME.fullmatch(lab):
        raise OperatorError(
            f"{lab!r} cannot be the name of a lab",
            "use up to 32 lower-case letters, digits and '-', no '-' at the ends",
        )


def plan_nodes(lab: str, edge_nodes: int) -> tuple[Node, ...]:
    """The nodes of a lab: its edge nodes and then the cloud.

    Raises:
        OperatorError: the name cannot be one, or the count is out of range.
    """
    check_name(lab)
    if not 1 <= edge_nodes <= MAX_EDGE_NODES:
        raise OperatorError(f"{edge_nodes} edge nodes: expected 1 to {MAX_EDGE_NODES}")
    edges = (Node(lab, f"edge-{number}", number) for number in range(1, edge_nodes + 1))
    return (*edges, cloud_of(lab))


def cloud_of(lab: str) -> Node:
    """The cloud's node of a lab."""
    return Node(lab, CLOUD, 0)


def prefix(lab: str) -> str:
    """What the names of all namespaces of this lab, and of no other, start with.

    A lab's name has no dot in it, so ``demo`` is never a prefix of ``demo-2``.
    """
    return f"edgemesh.{lab}."


def switch_namespace(lab: str) -> str:
    """The namespace of the switch that joins the nodes."""
    return f"{prefix(lab)}switch"


def switch_addresses() -> tuple[str, str]:
    """The nodes' default gateway, IPv4 and IPv6."""
    return str(_NODES4 + 1), str(_NODES6 + 1)


def node_link(node: Node) -> tuple[Attachment, Attachment]:
    """The two ends of the link between a node and the switch."""
    own4, own6 = node.addresses
    return (
        Attachment(node.namespace, "eth0", (f"{own4}/24", f"{own6}/64")),
        Attachment(switch_namespace(node.lab), f"port{node.number}", bridge=BRIDGE),
    )


def pod_namespace(node: Node, slot: int, name: str) -> str:
    """The namespace of a pod: its name for people, cut, and its place, which is unique."""
    return f"{prefix(node.lab)}{name[:_SHORT_NAME_LENGTH]}.{node.number}-{slot}"


def pod_place(lab: str, namespace: str) -> tuple[int, int] | None:
    """Number of the node and slot of a pod's namespace, None for a namespace that is no pod's."""
    found = _POD_NAMESPACE.fullmatch(namespace.removeprefix(prefix(lab)))
    return (int(found["node"]), int(found["slot"])) if found else None


def pod_link(node: Node, slot: int, namespace: str) -> tuple[Attachment, Attachment]:
    """The two ends of the link between a pod and its node.

    Pods of one node share no wire, as with the CNI plugin ``ptp``: whatever they send, to
    neighbours too, passes the node's routing and so its interception.
    """
    own4, own6 = node.pod_addresses(slot)
    gateway4, gateway6 = node.pod_gateways
    return (
        Attachment(namespace, "eth0", (f"{own4}/32", f"{own6}/128")),
        Attachment(node.namespace, f"pod{slot}", (f"{gateway4}/32", f"{gateway6}/128")),
    )


def free_slot(node: Node, taken: frozenset[int]) -> int:
    """The first slot of a node where no pod is.

    Raises:
        OperatorError: the node is full.
    """
    for slot in range(_FIRST_POD, _FIRST_POD + MAX_PODS_PER_NODE):
        if slot not in taken:
            return slot
    raise OperatorError(f"node {node.name} has {MAX_PODS_PER_NODE} pods and takes no more")


def resolv_conf(kubernetes_namespace: str) -> str:
    """What a kubelet writes into a pod's /etc/resolv.conf with ``dnsPolicy: ClusterFirst``."""
    search = f"{kubernetes_namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
    return f"nameserver {DNS_SERVER}\nsearch {search}\noptions ndots:5\n"
