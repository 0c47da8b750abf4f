"""The networks of nodes and pods: made from the plan, removed by the prefix of their names."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgemesh.lab import plan
from edgemesh.lab.network import (
    ETC_NETNS,
    Route,
    add_bridge,
    add_namespace,
    add_routes,
    connect,
    delete_link,
    delete_namespace,
    isolate_port,
    load_nft,
    namespaces,
    set_sysctl,
)
from edgemesh.lab.plan import Node

# A node forwards. Reverse-path filtering would drop what TPROXY diverts: those packets are
# routed by their mark to the loopback interface, which is not where they came from.
_NODE_SETTINGS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
}
_NODE_RESOLV_CONF_NAMESPACE = "default"
# What a NAT lets in is answers: neither connections from outside nor datagrams. It stands ahead of
# everything (raw is -300), with no need for connection tracking.
_NAT = """
table inet edgemesh-lab-nat {
    chain prerouting {
        type filter hook prerouting priority -400; policy accept;
        iifname "eth0" tcp flags & (syn | ack) == syn drop
        iifname "eth0" meta l4proto udp drop
    }
}
"""
_NO_NAT = "delete table inet edgemesh-lab-nat"


def build(lab: str, nodes: Sequence[Node]) -> None:
    """Make the switch and all nodes.

    Raises:
        OperatorError: a namespace exists already, or the privilege is missing.
    """
    switch = plan.switch_namespace(lab)
    gateway4, gateway6 = plan.switch_addresses()
    add_namespace(switch)
    add_bridge(switch, plan.BRIDGE, (f"{gateway4}/24", f"{gateway6}/64"))
    for node in nodes:
        _build_node(node)
        routes = [route for other in nodes if other != node for route in _pod_routes(other)]
        defaults = [Route("default", gateway4), Route("default", gateway6)]
        add_routes(node.namespace, [*defaults, *routes])
    add_routes(switch, [route for node in nodes for route in _pod_routes(node)])


def part(nodes: Sequence[Node]) -> None:
    """Put each edge node behind a NAT of its own: it reaches the cloud, and nobody reaches it."""
    for node in _edges(nodes):
        port = plan.node_link(node)[1]
        isolate_port(port.namespace, port.device, isolated=True)
        load_nft(node.namespace, _NAT)


def join(nodes: Sequence[Node]) -> None:
    """Open the ways between nodes that `part` has closed."""
    for node in _edges(nodes):
        port = plan.node_link(node)[1]
        isolate_port(port.namespace, port.device, isolated=False)
        load_nft(node.namespace, _NO_NAT)


def _edges(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if not node.is_cloud]


def add_pod(node: Node, slot: int, namespace: str, kubernetes_namespace: str) -> None:
    """Make a pod's namespace, its link to the node, and its resolv.conf."""
    pod_end, node_end = plan.pod_link(node, slot, namespace)
    add_namespace(namespace)
    connect(pod_end, node_end)
    for_pod, for_node = [], []
    for own, gateway in zip(node.pod_addresses(slot), node.pod_gateways, strict=True):
        for_pod += [Route(gateway, device=pod_end.device), Route("default", gateway)]
        for_node += [Route(own, device=node_end.device)]
    add_routes(namespace, for_pod)
    add_routes(node.namespace, for_node)
    _write_resolv_conf(namespace, kubernetes_namespace)


def remove_pod(node: Node, slot: int, namespace: str) -> None:
    """Remove what ``add_pod`` made, as far as it is there; the slot is free at once."""
    _, node_end = plan.pod_link(node, slot, namespace)
    delete_link(node.namespace, node_end.device)
    remove_namespace(namespace)


def remove_namespace(namespace: str) -> None:
    """Remove a namespace and its resolv.conf, as far as they are there."""
    delete_namespace(namespace)
    shutil.rmtree(ETC_NETNS / namespace, ignore_errors=True)


def present(lab: str) -> list[str]:
    """All namespaces of a lab, whether a state tells of them or not."""
    prefix = plan.prefix(lab)
    configured = {path.name for path in ETC_NETNS.glob(f"{prefix}*")}
    return sorted(configured.union(namespaces(prefix)))


def _build_node(node: Node) -> None:
    add_namespace(node.namespace)
    for key, value in _NODE_SETTINGS.items():
        set_sysctl(node.namespace, key, value)
    connect(*plan.node_link(node))
    _write_resolv_conf(node.namespace, _NODE_RESOLV_CONF_NAMESPACE)


def _pod_routes(node: Node) -> list[Route]:
    return [
        Route(network, address)
        for network, address in zip(node.pod_networks, node.addresses, strict=True)
    ]


def _write_resolv_conf(namespace: str, kubernetes_namespace: str) -> None:
    directory = ETC_NETNS / namespace
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "resolv.conf").write_text(plan.resolv_conf(kubernetes_namespace))
