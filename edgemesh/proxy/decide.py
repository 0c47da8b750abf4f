"""Decide: the data plane's hold on the snapshot, and its way to ask for a verdict."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from edgemesh.model.flows import FlowFacts
from edgemesh.model.paths import NOT_LOOKED_AT
from edgemesh.model.services import ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.policy.routing.request import RequestFacts
from edgemesh.policy.traffic.traffic import RemovedEndpoint, Traffic
from edgemesh.policy.verdict import Verdict, decide, find_port, preview


class Decider:
    """The one mutable place that decisions have: which snapshot holds, what policies remember.

    Attributes:
        snapshot: what is decided by.
        available: paths that work on this node.
        traffic: what policies remember.
        swaps: counts snapshots, for who has to notice a change without holding an old one.
    """

    def __init__(
        self, settings: ProxySettings, random: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        """Start with a snapshot that knows nothing.

        Args:
            settings: of the data plane.
            random: gives a number in [0, 1).
            clock: monotonic, in seconds.
        """
        self.snapshot = Snapshot()
        self.available = NOT_LOOKED_AT
        self.swaps = 0
        self.traffic = Traffic(
            random,
            max_quota_keys=settings.max_quota_keys,
            max_affinity_clients=settings.max_affinity_clients,
            limited_connection_seconds=settings.limited_connection_seconds,
        )
        self._clock = clock
        self._linger_seconds = settings.inbound_linger_seconds
        # Inbound ports that are gone, and until when they are kept.
        self._lingering: dict[tuple[str, int], float] = {}
        self._attempts = settings.connect_attempts
        self._listener_ports = {
            Transport.TCP: settings.tcp_port,
            Transport.UDP: settings.udp_port,
        }

    def swap(self, snapshot: Snapshot) -> AbstractSet[RemovedEndpoint]:
        """Decide by ``snapshot`` from now on.

        TCP endpoints of this node that were intercepted until now are kept for a while: the rules
        follow the snapshot, and a call that they still divert would have nowhere to go.

        Returns:
            See `Traffic.swap`.
        """
        now = self._clock()
        self.swaps += 1
        to_close = self.traffic.swap(snapshot, now)
        known = self.snapshot.tcp_inbound
        ends = {
            place: self._lingering.get(place, now + self._linger_seconds)
            for place in known.keys() - snapshot.tcp_inbound.keys()
        }
        self._lingering = {place: end for place, end in ends.items() if now < end}
        if self._lingering:
            kept = {place: known[place] for place in self._lingering}
            snapshot = replace(snapshot, tcp_inbound={**snapshot.tcp_inbound, **kept})
        self.snapshot = snapshot
        return to_close

    def declared_port(self, destination: tuple[str, int]) -> ServicePort | None:
        """The TCP Service port that a destination belongs to."""
        return find_port(self.snapshot, Transport.TCP, destination)

    def decide(self, facts: FlowFacts) -> Verdict:
        """Settle everything about a flow; this takes its turn, and its token of a quota."""
        return decide(
            self.snapshot,
            facts,
            self.traffic,
            self._clock(),
            listener_port=self._listener_ports[facts.transport],
            available=self.available,
        )

    def preview(self, facts: FlowFacts, request: RequestFacts | None = None) -> Verdict:
        """What `decide` would say now, and who would follow, without counting as a flow.

        Args:
            facts: about the flow.
            request: on it, where requests are routed and balanced; None for no certain one.
        """
        return preview(
            self.snapshot,
            facts,
            self.traffic,
            self._clock(),
            listener_port=self._listener_ports[facts.transport],
            attempts=self._attempts,
            request=request,
            available=self.available,
        )
