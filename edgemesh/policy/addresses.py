"""What is to be intercepted."""

from __future__ import annotations

from edgemesh.model.services import NodePort, ServiceAddress, Snapshot, Transport


def service_addresses(snapshot: Snapshot) -> frozenset[ServiceAddress | NodePort]:
    """Everything that leads to a Service port: addresses, and ports of the node's own addresses.

    The data plane answers exactly what it can look up, so these are the keys of its indexes.
    """
    return frozenset(
        (
            *(ServiceAddress(address, Transport.TCP, port) for address, port in snapshot.tcp),
            *(ServiceAddress(address, Transport.UDP, port) for address, port in snapshot.udp),
            *(NodePort(Transport.TCP, port) for port in snapshot.tcp_node_ports),
            *(NodePort(Transport.UDP, port) for port in snapshot.udp_node_ports),
        )
    )
