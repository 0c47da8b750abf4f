"""What holds for all requests of one Service port: looked up once, not for each request.

A plan is made anew when the snapshot brings another ServicePort; the state that hangs on the
port (balancing, breakers, buckets) is the Traffic's and outlives it.
"""

from __future__ import annotations

from edgemesh.model.routes import Backend
from edgemesh.model.services import PortKey, ServicePort, Snapshot
from edgemesh.model.settings import HttpSettings, ProxySettings
from edgemesh.policy.routing.backends import backend_port
from edgemesh.policy.routing.table import RouteTable, route_table
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.traffic.upstream import Upstream


class PortPlan:
    """One Service port, or a subset of its endpoints, ready for requests.

    Attributes:
        port: as the snapshot has it.
        upstream: its endpoints and their state.
        table: its routes, None when it has none.
        policy: of the port or the subset.
        client_quota, server: None where nothing is limited.
        request_seconds, idle_seconds, connect_seconds: deadlines, 0 for none.
    """

    __slots__ = (
        "client_quota",
        "connect_seconds",
        "idle_seconds",
        "policy",
        "port",
        "request_seconds",
        "server",
        "table",
        "upstream",
    )

    def __init__(
        self,
        port: ServicePort,
        upstream: Upstream,
        traffic: Traffic,
        http: HttpSettings,
        proxy: ProxySettings,
    ) -> None:
        self.port = port
        self.upstream = upstream
        self.policy = policy = upstream.policy
        self.table: RouteTable | None = route_table(port.routes) if port.routes else None
        self.client_quota = traffic.client_quota(port)
        self.server = traffic.server(port)
        timeouts = policy.timeouts
        self.request_seconds = _or(timeouts.request, http.request_timeout_seconds)
        self.idle_seconds = _or(timeouts.idle, http.idle_timeout_seconds)
        self.connect_seconds = _or(timeouts.connect, proxy.connect_timeout_seconds)


class Plans:
    """The plans of all ports that are called."""

    def __init__(self, traffic: Traffic, http: HttpSettings, proxy: ProxySettings) -> None:
        """Start with none."""
        self._traffic = traffic
        self._http = http
        self._proxy = proxy
        self._plans: dict[tuple[PortKey, str], PortPlan] = {}

    def of(self, port: ServicePort, subset: str = "") -> PortPlan | None:
        """The plan of a port as it is now; None when it has no such subset."""
        key = (port.key, subset)
        plan = self._plans.get(key)
        if plan is not None and plan.port is port:
            return plan
        upstream = self._traffic.upstream(port, subset)
        if upstream is None:
            return None
        plan = PortPlan(port, upstream, self._traffic, self._http, self._proxy)
        self._plans[key] = plan
        return plan

    def renewed(self, port: ServicePort | None, held: PortPlan | None) -> PortPlan | None:
        """The plan of a connection's next requests.

        Args:
            port: that is called at its destination now, None when there is none.
            held: of its requests until now. An endpoint of this node that is not intercepted any
                more keeps the connections that it has.
        """
        if port is not None:
            return self.of(port)
        return held if held is not None and held.port.inbound else None

    def of_backend(self, backend: Backend, called: PortPlan, snapshot: Snapshot) -> PortPlan | None:
        """The plan of where a route leads; None when there is no such place."""
        port = backend_port(backend, called.port, snapshot)
        return self.of(port, backend.subset) if port is not None else None

    def forget(self, snapshot: Snapshot) -> None:
        """Drop the plans of ports that are gone, so that memory is bounded."""
        for key in [key for key in self._plans if key[0] not in snapshot.ports]:
            del self._plans[key]


def _or(seconds: float | None, otherwise: float) -> float:
    return otherwise if seconds is None else seconds
