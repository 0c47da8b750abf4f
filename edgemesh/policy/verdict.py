"""The decision about one flow: everything that is settled before anything is dialled."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import FlowFacts, Refusal, Verdict
from edgemesh.model.services import ServicePort, Snapshot, Transport
from edgemesh.policy.balance import BalanceState, of_family, order


def find_port(
    snapshot: Snapshot, transport: Transport, destination: tuple[str, int]
) -> ServicePort | None:
    """The Service port that a destination belongs to, by its address or else as a node port."""
    if transport is Transport.TCP:
        return snapshot.tcp.get(destination) or snapshot.tcp_node_ports.get(destination[1])
    return snapshot.udp.get(destination) or snapshot.udp_node_ports.get(destination[1])


def decide(
    snapshot: Snapshot,
    facts: FlowFacts,
    state: BalanceState,
    random: Callable[[], float],
    *,
    listener_port: int,
    attempts: int,
) -> Verdict:
    """Decide about one flow.

    Args:
        snapshot: what is known about Services.
        facts: what is known about the flow.
        state: of balancing, advanced by this call.
        random: gives a number in [0, 1).
        listener_port: our own; a flow that was addressed to it would come back for ever.
        attempts: how many endpoints may be tried, 1 or more.
    """
    port = find_port(snapshot, facts.transport, facts.destination)
    if port is None:
        itself = facts.destination[1] == listener_port
        return Verdict(None, refusal=Refusal.SELF_DESTINATION if itself else Refusal.NO_SERVICE)
    if not port.endpoints:
        return Verdict(port, refusal=Refusal.NO_ENDPOINT)
    endpoints = of_family(port, ipv6=":" in facts.destination[0], state=state)
    candidates = order(port, endpoints, attempts, state, random)
    return Verdict(port, candidates, "relay", port.source)
