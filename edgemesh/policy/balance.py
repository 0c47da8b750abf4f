"""Which endpoint takes a new flow, and which ones follow when it refuses.

Positions outlive snapshots: they hang on the Service port's identity, so that round robin stays
exactly even while endpoints of other Services come and go.
"""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.policies import Balance
from edgemesh.model.services import Endpoint, ServicePort


class BalanceState:
    """What balancing remembers between flows; one per data plane, used by one thread."""

    __slots__ = ("families", "positions")

    def __init__(self) -> None:
        """Start with no history."""
        self.positions: dict[tuple[str, str, str, int], int] = {}
        self.families: dict[
            tuple[str, str, str, int],
            tuple[ServicePort, tuple[Endpoint, ...], tuple[Endpoint, ...]],
        ] = {}

    def forget(self, known: Callable[[tuple[str, str, str, int]], bool]) -> None:
        """Drop the history of Service ports that no longer exist, so that memory is bounded."""
        for history in (self.positions, self.families):
            for key in [key for key in history if not known(key)]:
                del history[key]


def of_family(port: ServicePort, *, ipv6: bool, state: BalanceState) -> tuple[Endpoint, ...]:
    """The port's endpoints of one address family, or all when it has none of that family.

    A dual-stack Service is served within the family it was called in; a single-stack one may
    be called in either, since the proxy ends one connection and starts another. The split is
    kept for as long as the same ServicePort is asked for.
    """
    kept = state.families.get(port.key)
    if kept is None or kept[0] is not port:
        four = tuple(endpoint for endpoint in port.endpoints if not endpoint.is_ipv6)
        six = tuple(endpoint for endpoint in port.endpoints if endpoint.is_ipv6)
        kept = state.families[port.key] = (port, four or six, six or four)
    return kept[2] if ipv6 else kept[1]


def order(
    port: ServicePort,
    endpoints: tuple[Endpoint, ...],
    attempts: int,
    state: BalanceState,
    random: Callable[[], float],
) -> tuple[Endpoint, ...]:
    """Put up to ``attempts`` endpoints into the order in which a flow tries them.

    Args:
        port: whose endpoints they are; its ``balance`` chooses the first.
        endpoints: not empty.
        attempts: 1 or more.
        state: advanced by this call.
        random: gives a number in [0, 1).
    """
    count = len(endpoints)
    if count == 1:
        return endpoints
    if port.policy.balancing.algorithm is Balance.RANDOM:
        first = int(random() * count)
    else:
        first = state.positions.get(port.key, 0) % count
        state.positions[port.key] = first + 1
    if first + attempts <= count:
        return endpoints[first : first + attempts]
    return (endpoints[first:] + endpoints)[: min(attempts, count)]
