"""All that policies remember, by Service port; it outlives snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial

from edgemesh.model.policies import EndpointRemoval, Policy
from edgemesh.model.services import PortKey, ServicePort, Snapshot
from edgemesh.policy.traffic.affinity import Affinity
from edgemesh.policy.traffic.chooser import Place
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.quota import QuotaState
from edgemesh.policy.traffic.renewal import Renewal
from edgemesh.policy.traffic.server import ServerState
from edgemesh.policy.traffic.spread import Spread, spread
from edgemesh.policy.traffic.upstream import Upstream

# A port, and the address and port of an endpoint that it had.
RemovedEndpoint = tuple[PortKey, tuple[str, int]]


class _PortTraffic:
    """What is remembered of one Service port."""

    __slots__ = (
        "_tell",
        "client_quota",
        "drains",
        "port",
        "renewal",
        "server",
        "states",
        "upstreams",
    )

    def __init__(
        self, port: ServicePort, renewal: Renewal, tell: Callable[[ServicePort], None]
    ) -> None:
        self._tell = tell
        self.port = port
        self.states: dict[tuple[str, int], EndpointState] = {}
        # Whether some of the states are kept for what is still open.
        self.drains = False
        self.upstreams: dict[str, Upstream] = {}
        self.client_quota: QuotaState | None = None
        self.server: ServerState | None = None
        self.renewal = renewal

    def look_again(self) -> None:
        for upstream in self.upstreams.values():
            upstream.look_again()
        self._tell(self.port)


class Traffic:
    """See the module. One thread uses it.

    Attributes:
        random: gives a number in [0, 1).
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        max_quota_keys: int = 10000,
        max_affinity_clients: int = 10000,
        limited_connection_seconds: float = 60.0,
    ) -> None:
        """Start without history.

        Args:
            random: as above.
            max_quota_keys: sources or routes that have a token bucket, for each quota.
            max_affinity_clients: addresses that are remembered, for each Service port.
            limited_connection_seconds: see `Renewal`.
        """
        self.random = random
        self._max_quota_keys = max_quota_keys
        self._max_affinity_clients = max_affinity_clients
        self._limited_connection_seconds = limited_connection_seconds
        self._snapshot = Snapshot()
        self._now = 0.0
        self._ports: dict[PortKey, _PortTraffic] = {}
        # By identity of the ServicePort, which the record keeps alive.
        self._records: dict[int, _PortTraffic] = {}
        self._to_close: set[RemovedEndpoint] = set()
        self._listeners: list[Callable[[ServicePort], None]] = []

    def on_turn(self, tell: Callable[[ServicePort], None]) -> Callable[[], None]:
        """Call ``tell`` with each port of which an endpoint may be chosen again, or no longer.

        Returns:
            What ends this.
        """
        self._listeners.append(tell)
        return partial(self._listeners.remove, tell)

    def swap(self, snapshot: Snapshot, now: float) -> AbstractSet[RemovedEndpoint]:
        """Go by ``snapshot`` from now on; what it does not know is forgotten.

        Returns:
            Endpoints that their ports have no more, where connections to them are to be closed.
        """
        old, self._snapshot = self._snapshot, snapshot
        self._now = now
        self._to_close = set()
        moved = (old.node, old.zone) != (snapshot.node, snapshot.zone)
        for key, record in list(self._ports.items()):
            port = snapshot.ports.get(key)
            if port is None:
                del self._ports[key]
                for state in record.states.values():
                    state.draining = True
            elif port is not record.port or moved or record.drains:
                self._update(record, port, now)
        self._records = {id(record.port): record for record in self._ports.values()}
        return self._to_close

    def upstream(self, port: ServicePort, subset: str = "") -> Upstream | None:
        """Where calls of a port, or of a subset of it, go; None when there is no such subset."""
        record = self._records.get(id(port)) or self._record(port)
        return record.upstreams.get(subset) or self._open(record, subset)

    def spread(self, port: ServicePort, now: float) -> Spread:
        """How calls of a port are spread now by who does not ask for each.

        What has nothing to remember is not remembered by this: there may be 10,000 such ports.
        """
        policy = port.policy
        if port.key in self._ports or _remembers(policy):
            upstream = self.upstream(port)
            assert upstream is not None
            return upstream.spread(now)
        places = {(each.address, each.port): each for each in port.endpoints}
        states = [EndpointState(each, float("-inf"), _nobody) for each in places.values()]
        return spread(states, policy, self._snapshot.node, self._snapshot.zone, now)

    def client_quota(self, port: ServicePort) -> QuotaState | None:
        """The quota of calls that start here; None for none."""
        return (self._records.get(id(port)) or self._record(port)).client_quota

    def server(self, port: ServicePort) -> ServerState | None:
        """What is let through to this node's endpoints of a port; None when that is everything.

        It is the same for calls that were balanced here and for inbound ones.
        """
        if port.inbound:
            served = self._snapshot.ports.get(port.limits_key)
            return None if served is None else self.server(served)
        return (self._records.get(id(port)) or self._record(port)).server

    def upstreams(self) -> Iterator[Upstream]:
        """All that were called."""
        for record in self._ports.values():
            yield from record.upstreams.values()

    def servers(self) -> Iterator[ServerState]:
        """What is let through to this node's endpoints, of all ports where that is limited."""
        for record in self._ports.values():
            if record.server is not None:
                yield record.server

    def _turned(self, port: ServicePort) -> None:
        for tell in self._listeners:
            tell(port)

    def _record(self, port: ServicePort) -> _PortTraffic:
        """The record of a port that is asked for by another value than the current one."""
        key = port.key
        current = self._snapshot.ports.get(key, port)
        record = self._ports.get(key)
        if record is None:
            renewal = Renewal(self._limited_connection_seconds)
            record = self._ports[key] = _PortTraffic(current, renewal, self._turned)
        elif record.port is current:
            return record
        else:
            del self._records[id(record.port)]
        self._update(record, current, self._now)
        self._records[id(current)] = record
        return record

    def _update(self, record: _PortTraffic, port: ServicePort, now: float) -> None:
        record.port = port
        self._update_states(record, now)
        self._update_limits(record, now)
        for subset in list(record.upstreams):
            if not self._assign(record, subset, now):
                del record.upstreams[subset]

    def _update_states(self, record: _PortTraffic, now: float) -> None:
        states = record.states
        # Endpoints that were there from the beginning are no newcomers.
        since = now if states else float("-inf")
        places = {(each.address, each.port): each for each in record.port.endpoints}
        for place, endpoint in places.items():
            state = states.get(place)
            if state is None:
                states[place] = EndpointState(endpoint, since, record.look_again)
                continue
            state.endpoint = endpoint
            if state.draining:
                state.draining = False
                state.since = now
        closes = record.port.policy.on_endpoint_removed is EndpointRemoval.CLOSE
        for place in [place for place in states if place not in places]:
            if closes:
                self._to_close.add((record.port.key, place))
            states[place].draining = True
            if states[place].is_idle:
                del states[place]
        record.drains = len(states) > len(places)

    def _update_limits(self, record: _PortTraffic, now: float) -> None:
        quota = record.port.policy.client_quota
        if quota is None:
            record.client_quota = None
        elif record.client_quota is None:
            record.client_quota = QuotaState(quota, self._max_quota_keys)
        else:
            record.client_quota.change(quota, now)
        limits = record.port.policy.server
        limited = limits.quota is not None or limits.max_concurrent > 0
        if record.port.inbound:
            return
        record.renewal.set_limited(now, limited=limited)
        if record.server is not None:
            record.server.change(limits, now)
        elif limited:
            record.server = ServerState(limits, self._max_quota_keys)

    def _renew(self, record: _PortTraffic, now: float) -> float:
        return record.renewal.look(record.states.values(), self._snapshot.node, now)

    def _open(self, record: _PortTraffic, subset: str) -> Upstream | None:
        if subset and subset not in record.port.subsets:
            return None
        record.upstreams[subset] = Upstream(
            record.port,
            subset,
            self.random,
            Affinity(self._max_affinity_clients),
            renew=partial(self._renew, record),
        )
        self._assign(record, subset, self._now)
        return record.upstreams[subset]

    def _assign(self, record: _PortTraffic, name: str, now: float) -> bool:
        """Give an upstream what its port says now; false when it has no such subset any more."""
        port = record.port
        places = dict.fromkeys((each.address, each.port) for each in port.endpoints)
        policy = port.policy
        if name:
            subset = port.subsets.get(name)
            if subset is None:
                return False
            policy = subset.policy
            places = {place: None for place in places if place in subset.addresses}
        states = [record.states[place] for place in places]
        place = Place(self._snapshot.node, self._snapshot.zone, record.server)
        record.upstreams[name].assign(port, policy, states, place, now)
        return True


def _remembers(policy: Policy) -> bool:
    """Whether how calls are spread depends on what was before."""
    return bool(policy.breaker or policy.health_check or policy.balancing.slow_start_seconds)


def _nobody() -> None:
    """Tell nobody that a state has changed: it never does."""
