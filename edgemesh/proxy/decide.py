"""Decide: the data plane's hold on the snapshot, and its way to ask for a verdict."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import FlowFacts, Verdict
from edgemesh.model.services import ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.policy.balance import BalanceState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import decide, find_port


class Decider:
    """The one mutable place that decisions have: which snapshot holds, what balancing remembers.

    Attributes:
        snapshot: what is decided by.
        traffic: what policies remember.
        swaps: counts snapshots, for who has to notice a change without holding an old one.
    """

    def __init__(self, settings: ProxySettings, random: Callable[[], float]) -> None:
        """Start with a snapshot that knows nothing."""
        self.snapshot = Snapshot()
        self.swaps = 0
        self.traffic = Traffic(random)
        self._state = BalanceState()
        self._random = random
        self._attempts = settings.connect_attempts
        self._listener_ports = {
            Transport.TCP: settings.tcp_port,
            Transport.UDP: settings.udp_port,
        }

    def swap(self, snapshot: Snapshot, now: float) -> None:
        """Decide by ``snapshot`` from now on."""
        self.snapshot = snapshot
        self.traffic.swap(snapshot, now)
        self.swaps += 1
        services = snapshot.services
        self._state.forget(lambda key: (key[0], key[1]) in services)

    def declared_port(self, destination: tuple[str, int]) -> ServicePort | None:
        """The TCP Service port that a destination belongs to."""
        return find_port(self.snapshot, Transport.TCP, destination)

    def decide(self, facts: FlowFacts) -> Verdict:
        """Settle everything about a flow; this counts as one choice of the balancing."""
        return self._decide(facts, self._state)

    def preview(self, facts: FlowFacts) -> Verdict:
        """What `decide` would say now, without counting as a choice."""
        state = BalanceState()
        state.positions.update(self._state.positions)
        return self._decide(facts, state)

    def _decide(self, facts: FlowFacts, state: BalanceState) -> Verdict:
        return decide(
            self.snapshot,
            facts,
            state,
            self._random,
            listener_port=self._listener_ports[facts.transport],
            attempts=self._attempts,
        )
