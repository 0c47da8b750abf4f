"""What the kernel is told of Service ports, and what it was told last.

Theory of operation: the plan holds a ConnectPort for each Service port that is balanced when
sockets connect. Whoever keeps the kernel's maps asks it port by port, when something has changed,
and gets what is to be written, or nothing when it is what stands. An endpoint keeps its number
while the port has it, whether it takes calls or not, so that what is counted stays its own; one
that is gone keeps it until its last connection is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balance
from edgemesh.model.services import PortKey, ServiceAddress, ServicePort, Transport
from edgemesh.policy.connect.ids import Ids
from edgemesh.policy.traffic.spread import Shares, Spread

# Address and port of an endpoint.
Place = tuple[str, int]


class Whose(NamedTuple):
    """Which endpoint of which Service port a number stands for.

    Args:
        key: of the port.
        place: address and port of the endpoint.
        gone: the port has it no more; what is left of it is connections.
    """

    key: PortKey
    place: Place
    gone: bool


class _Planned:
    """What is remembered of one Service port: what stands (None for nothing) and its numbers."""

    __slots__ = ("connect", "id", "key", "members")

    def __init__(self, number: int, key: PortKey) -> None:
        self.id = number
        self.key = key
        self.connect: ConnectPort | None = None
        self.members: dict[Place, int] = {}


class ConnectPlan:
    """See the module."""

    def __init__(self, first_id: int) -> None:
        """Plan nothing yet; ``first_id`` as in `Ids`."""
        self._ids = Ids(first_id, self._is_used)
        self._planned: dict[PortKey, _Planned] = {}
        # By the numbers of ports, and by those of endpoints that they have.
        self._ports: dict[int, _Planned] = {}
        self._endpoints: dict[int, _Planned] = {}
        self._gone: dict[int, Whose] = {}

    def __len__(self) -> int:
        """How many ports the kernel balances."""
        return len(self._planned)

    def put(
        self, port: ServicePort, addresses: Iterable[ServiceAddress], spread: Spread
    ) -> ConnectPort | None:
        """Plan a port as it is now; what is to be written, None for what stands already.

        Args:
            port: one that can be balanced when sockets connect.
            addresses: where it is called; those that cannot be served within their own family
                are left alone.
            spread: of its calls.
        """
        key = port.key
        planned = self._planned.get(key)
        if planned is None:
            planned = _Planned(self._ids.take(), key)
            self._planned[key] = self._ports[planned.id] = planned
        self._set_members(port, planned)
        connect = _connect_port(port, planned, addresses, spread)
        if connect == planned.connect:
            return None
        planned.connect = connect
        return connect

    def remove(self, key: PortKey) -> int | None:
        """Balance a port no more; the number that it had, None when it was not balanced."""
        planned = self._planned.pop(key, None)
        if planned is None:
            return None
        del self._ports[planned.id]
        for place in list(planned.members):
            self._lose(planned, place)
        return planned.id

    def addresses(self, key: PortKey) -> Sequence[ServiceAddress]:
        """Where calls of a port are balanced; empty when the kernel leaves all of them alone."""
        planned = self._planned.get(key)
        return () if planned is None or planned.connect is None else planned.connect.addresses

    def port(self, number: int) -> PortKey | None:
        """Which Service port a number stands for; None for one that is gone."""
        planned = self._ports.get(number)
        return None if planned is None else planned.key

    def endpoint(self, number: int) -> Whose | None:
        """Which endpoint a number stands for; None for nothing that is remembered."""
        planned = self._endpoints.get(number)
        if planned is None:
            return self._gone.get(number)
        [place] = (place for place, each in planned.members.items() if each == number)
        return Whose(planned.key, place, gone=False)

    def gone(self) -> Sequence[int]:
        """The numbers of endpoints that their ports have no more."""
        return tuple(self._gone)

    def members(self, key: PortKey) -> Mapping[Place, int]:
        """The numbers of a port's endpoints; empty when the kernel does not balance it."""
        planned = self._planned.get(key)
        return {} if planned is None else planned.members

    def forget(self, number: int) -> None:
        """An endpoint that is gone has no connection any more: its number is free."""
        del self._gone[number]

    def _is_used(self, number: int) -> bool:
        return number in self._ports or number in self._endpoints or number in self._gone

    def _lose(self, planned: _Planned, place: Place) -> None:
        """A port has an endpoint no more, whose connections may live on."""
        number = planned.members.pop(place)
        del self._endpoints[number]
        self._gone[number] = Whose(planned.key, place, gone=True)

    def _set_members(self, port: ServicePort, planned: _Planned) -> None:
        members = planned.members
        places = dict.fromkeys((each.address, each.port) for each in port.endpoints)
        for place in [place for place in members if place not in places]:
            self._lose(planned, place)
        for place in places:
            if place not in members:
                number = members[place] = self._ids.take()
                self._endpoints[number] = planned


def _connect_port(
    port: ServicePort, planned: _Planned, addresses: Iterable[ServiceAddress], spread: Spread
) -> ConnectPort:
    served = tuple(one for one in addresses if _is_served(one, spread))
    ipv6 = {":" in one.address for one in served}
    four = spread.four if False in ipv6 else None
    six = spread.six if True in ipv6 else None
    policy = port.policy
    quota = policy.client_quota
    shares = [one.shares for one in (four, six) if isinstance(one, Shares)]
    in_turn = policy.balancing.algorithm is Balance.ROUND_ROBIN
    # The agent counts connections of TCP only.
    most = policy.limits.max_connections if port.transport is Transport.TCP else 0
    return ConnectPort(
        planned.id,
        served,
        _endpoints(four, planned),
        _endpoints(six, planned),
        even=in_turn and all(len(set(each)) == 1 for each in shares),
        affinity_seconds=policy.balancing.affinity_seconds,
        rate=quota.rate if quota else 0.0,
        burst=max(quota.burst, 1) if quota else 0,
        max_connections=most,
        refusal=next((one for one in (four, six) if isinstance(one, Refusal)), None),
    )


def _is_served(address: ServiceAddress, spread: Spread) -> bool:
    """Whether calls of an address find endpoints of its family, or none at all."""
    ipv6 = ":" in address.address
    shares = spread.six if ipv6 else spread.four
    return isinstance(shares, Refusal) or shares.states[0].endpoint.is_ipv6 is ipv6


def _endpoints(shares: Shares | Refusal | None, planned: _Planned) -> tuple[ConnectEndpoint, ...]:
    if not isinstance(shares, Shares):
        return ()
    places = ((state.endpoint.address, state.endpoint.port) for state in shares.states)
    return tuple(
        ConnectEndpoint(planned.members[place], *place, share)
        for place, share in zip(places, shares.shares, strict=True)
    )
