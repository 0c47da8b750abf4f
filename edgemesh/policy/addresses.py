"""What is to be intercepted."""

from __future__ import annotations

from edgemesh.model.services import (
    InboundAddress,
    NodePort,
    ServiceAddress,
    Snapshot,
    Transport,
)


def service_addresses(snapshot: Snapshot) -> frozenset[ServiceAddress | NodePort | InboundAddress]:
    """Everything that leads to a Service port.

    These are its addresses, ports of the node's own addresses, and endpoints of this node where
    servers are limited.
    The data plane answers exactly what it can look up, so these are the keys of its indexes.
    """
    return frozenset(
        (
            *(ServiceAddress(address, Transport.TCP, port) for address, port in snapshot.tcp),
            *(ServiceAddress(address, Transport.UDP, port) for address, port in snapshot.udp),
            *(NodePort(Transport.TCP, port) for port in snapshot.tcp_node_ports),
            *(NodePort(Transport.UDP, port) for port in snapshot.udp_node_ports),
            *(InboundAddress(where, Transport.TCP, port) for where, port in snapshot.tcp_inbound),
            *(InboundAddress(where, Transport.UDP, port) for where, port in snapshot.udp_inbound),
        )
    )
