"""Decide: the data plane's hold on the snapshot, and its way to ask for a verdict."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from edgemesh.model.flows import FlowFacts
from edgemesh.model.flows import Refusal as FlowRefusal
from edgemesh.model.paths import NOT_LOOKED_AT
from edgemesh.model.services import PortKey, ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.model.streams import InboundStream, Refusal
from edgemesh.policy.bus.acl import Admitted, admit
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
        chooses: whether streams that name no endpoint may enter; see `policy.bus.acl`.
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
        self.chooses = False
        # Ports that streams were let in to, by port and endpoint.
        self._entered: dict[tuple[PortKey, str], Admitted] = {}
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
        snapshot = self._with_entered(snapshot)
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

    def _with_entered(self, snapshot: Snapshot) -> Snapshot:
        """Admit anew what streams were let in to, and let the snapshot know it."""
        for key, admitted in list(self._entered.items()):
            if snapshot.ports.get(key[0]) is admitted.port and snapshot.node == self.snapshot.node:
                continue
            again = admit(snapshot, *key, chooses=self.chooses)
            if isinstance(again, Admitted):
                self._entered[key] = again
            else:
                del self._entered[key]
        if not self._entered:
            return snapshot
        views = {each.entered.key: each.entered for each in self._entered.values()}
        return replace(snapshot, ports={**snapshot.ports, **views})

    def enter(self, stream: InboundStream) -> Refusal | None:
        """Let a stream of another end of the mesh in, or say why not."""
        key = (stream.port, stream.endpoint)
        if key not in self._entered:
            admitted = admit(self.snapshot, *key, chooses=self.chooses)
            if not isinstance(admitted, Admitted):
                return admitted
            self._entered[key] = admitted
        return None

    def called_port(
        self,
        transport: Transport,
        destination: tuple[str, int],
        stream: InboundStream | None = None,
    ) -> ServicePort | None:
        """The Service port that is called now.

        Args:
            transport: TCP or UDP.
            destination: what was called.
            stream: that the call has come by, None for none.
        """
        if stream is None:
            return find_port(self.snapshot, transport, destination)
        admitted = self._entered.get((stream.port, stream.endpoint))
        return None if admitted is None else admitted.entered

    def decide(self, facts: FlowFacts) -> Verdict:
        """Settle everything about a flow; this takes its turn, and its token of a quota."""
        entered: ServicePort | None = None
        if facts.stream is not None:
            entered = self.called_port(facts.transport, facts.destination, facts.stream)
            if entered is None:
                return Verdict(None, refusal=FlowRefusal.NO_SERVICE)
        return decide(
            self.snapshot,
            facts,
            self.traffic,
            self._clock(),
            listener_port=self._listener_ports[facts.transport],
            available=self.available,
            entered=entered,
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
