"""What only rules bring to the agent, and when nothing needs them any more.

Calls of a Service's address may be balanced when they connect. Calls of a node port, and of an
endpoint whose servers are limited here, have to be diverted whatever the kernel can do.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.model.services import Snapshot
from edgemesh.model.status import DiversionNeed
from edgemesh.policy.connect.takeover import Takeover

_IPV6 = {"ipv4": False, "ipv6": True}


def diversion_need(snapshot: Snapshot, takeover: Takeover | None, family: str) -> DiversionNeed:
    """What has to be diverted.

    Args:
        snapshot: what is served.
        takeover: what is balanced when it connects; None for nothing.
        family: what is intercepted at all: ``ipv4``, ``ipv6`` or ``both``.
    """
    if takeover is None:
        # By address, for Services that another proxy serves have none of ours.
        called = (*snapshot.tcp.items(), *snapshot.udp.items())
        ports = len(
            {port.key for (address, _), port in called if _any_of_family((address,), family)}
        )
        whole = 0
    else:
        ports = sum(
            _any_of_family((one.address for one in left), family) for left in takeover.left.values()
        )
        # What is left alone in a family that is not intercepted is left to others.
        whole = takeover.whole + len(takeover.left) - ports
    inbound = (*snapshot.tcp_inbound, *snapshot.udp_inbound)
    return DiversionNeed(
        service_ports=ports,
        node_ports=len(snapshot.tcp_node_ports) + len(snapshot.udp_node_ports),
        endpoints=sum(_any_of_family((address,), family) for address, _ in inbound),
        balanced=whole,
    )


class Linger:
    """Tells when rules may go: nothing has needed or used them for a while."""

    __slots__ = ("_seconds", "_since")

    def __init__(self, seconds: float) -> None:
        """They are needed, as far as is known."""
        self._seconds = seconds
        self._since: float | None = None

    def is_over(self, *, in_use: bool, now: float) -> bool:
        """Whether they may go.

        Args:
            in_use: something needs them, or was diverted and is not over.
            now: monotonic, in seconds.
        """
        if in_use:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._seconds


def _any_of_family(addresses: Iterable[str], family: str) -> bool:
    wanted = _IPV6.get(family)
    return any(wanted is None or (":" in address) is wanted for address in addresses)
