"""A Service port under traffic, with a clock and chance in the hands of a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Policy, Subset
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.events import Event
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.traffic.upstream import Upstream


def endpoints(count: int, weights: Sequence[int] = ()) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(f"10.0.{number // 250}.{number % 250 + 1}", 80, weight=weight)
        for number, weight in enumerate(weights or [1] * count)
    )


class Calls:
    """The calls of one Service port.

    Attributes:
        now: what time it is.
        node, zone: where the calls start.
    """

    def __init__(
        self,
        policy: Policy,
        members: Sequence[Endpoint],
        *,
        seed: int = 7,
        node: str = "",
        zone: str = "",
        subsets: Sequence[Subset] = (),
        max_affinity_clients: int = 10,
        max_quota_keys: int = 10,
    ) -> None:
        self.now = 1000.0
        self.node = node
        self.zone = zone
        self.traffic = Traffic(
            Random(seed).random,
            max_affinity_clients=max_affinity_clients,
            max_quota_keys=max_quota_keys,
        )
        self.subsets = {subset.name: subset for subset in subsets}
        self.change(policy, members)

    def change(self, policy: Policy, members: Sequence[Endpoint]) -> None:
        """A new snapshot."""
        self.port = ServicePort(
            "default",
            "web",
            "",
            Transport.TCP,
            80,
            policy=policy,
            endpoints=tuple(members),
            subsets=self.subsets,
        )
        self.swap(self.port)

    def swap(self, *ports: ServicePort) -> None:
        by_key = {port.key: port for port in ports}
        self.traffic.swap(Snapshot(node=self.node, zone=self.zone, ports=by_key), self.now)

    @property
    def upstream(self) -> Upstream:
        upstream = self.traffic.upstream(self.port)
        assert upstream is not None
        return upstream

    def state(self, index: int) -> EndpointState:
        return self.upstream.states()[index]

    def choose(
        self,
        client: str = "192.0.2.1",
        *,
        ipv6: bool = False,
        text: str | None = None,
        tried: Sequence[EndpointState] = (),
    ) -> EndpointState | Refusal:
        return self.upstream.choose(Call(client, ipv6, text), self.now, tried)

    def chosen(self, client: str = "192.0.2.1", text: str | None = None) -> str:
        """The address that a call would go to."""
        state = self.choose(client, text=text)
        assert isinstance(state, EndpointState)
        return state.endpoint.address

    def counts(self, times: int) -> Counter[str]:
        """How often each address is chosen."""
        return Counter(self.chosen() for _ in range(times))

    def call(self, outcome: Outcome, seconds: float = 0.1) -> tuple[str, Event | None]:
        """A whole call: where it went, and what it led to."""
        state = self.choose()
        assert isinstance(state, EndpointState)
        self.upstream.begin(state)
        self.now += seconds
        return state.endpoint.address, self.upstream.end(state, outcome, seconds, self.now)

    def call_at(self, index: int, outcome: Outcome) -> Event | None:
        """A whole call to the endpoint with this index, whoever's turn it is."""
        state = self.state(index)
        self.upstream.begin(state)
        return self.upstream.end(state, outcome, 0.1, self.now)
