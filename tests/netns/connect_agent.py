"""What an agent does for the connect path, on real maps: snapshots in, metrics and breakers out."""

from __future__ import annotations

import gc
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from connect_lab import LEASE_SECONDS, PATIENCE_SECONDS, PORT, SERVICE, ConnectLab, Socket

from edgemesh.app.connect_sync import ConnectSync
from edgemesh.app.intercept import Interceptor
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.flows import FlowReport
from edgemesh.model.meters import Meter
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint, Service, ServicePort, Snapshot, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings, Settings
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.plane import Plane


class ConnectAgent:
    """Services of a snapshot, kept in the maps of a lab.

    Attributes:
        balanced: the ports that the kernel is to balance; all of them unless changed.
    """

    def __init__(self, lab: ConnectLab) -> None:
        self.lab = lab
        self.plane = Plane(ProxySettings(), NetfilterSettings(), _no_report)
        self.balanced: Callable[[ServicePort], bool] = lambda _: True
        self.interceptor = Interceptor(Settings(), self.plane.flows, self.plane.sessions)
        self.sync = ConnectSync(
            lab.maps,
            self.plane,
            # Calls are made on the thread that would renew a shorter one.
            BpfSettings(lease_seconds=LEASE_SECONDS),
            self._is_balanced,
            self.interceptor,
            first_id=7,
        )
        self._services: dict[str, Service] = {}

    def _is_balanced(self, port: ServicePort) -> bool:
        return self.balanced(port)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Balance calls meanwhile."""
        with self.plane.reactor:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.sync.run)
                yield
                nursery.cancel_scope.cancel()
        # It keeps what it has planned from the collector; other tests follow in this process.
        gc.unfreeze()

    def serve(
        self,
        servers: Sequence[Socket | Endpoint],
        *,
        name: str = "web",
        addresses: Sequence[str] = tuple(SERVICE.values()),
        transport: Transport = Transport.TCP,
        **port: Any,
    ) -> ServicePort:
        """A new snapshot in which a Service has these endpoints."""
        made = ServicePort(
            "default", name, "", transport, PORT, endpoints=tuple(map(endpoint_of, servers)), **port
        )
        self._services[name] = Service(
            "default", name, cluster_addresses=tuple(addresses), ports=(made,)
        )
        self.swap()
        return made

    @property
    def port(self) -> ServicePort:
        """That of the Service ``web``."""
        return self._services["web"].ports[0]

    def drop(self, name: str = "web") -> None:
        """A new snapshot without a Service."""
        del self._services[name]
        self.swap()

    def swap(self) -> None:
        """Go by the Services; an address is of the first by name that has it."""
        indexes: dict[Transport, dict[tuple[str, int], ServicePort]] = {}
        for transport in Transport:
            indexes[transport] = {
                (address, port.port): port
                for _, service in sorted(self._services.items(), reverse=True)
                for address in service.addresses
                for port in service.ports
                if port.transport is transport
            }
        services = {("default", name): service for name, service in self._services.items()}
        ports = {port.key: port for each in services.values() for port in each.ports}
        snapshot = Snapshot(
            tcp=indexes[Transport.TCP], udp=indexes[Transport.UDP], services=services, ports=ports
        )
        self.plane.swap(snapshot)
        self.sync.want(snapshot)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a state."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.001)

    async def balances(self, ports: int) -> None:
        """Wait until the kernel balances so many ports."""
        await self.until(lambda: self.sync.ports == ports)
        await trio.testing.wait_all_tasks_blocked()

    def called(self, servers: Sequence[Socket], version: int = 4) -> int:
        """Call the Service; which of the servers got it."""
        self.lab.call(version).close()
        with selectors.DefaultSelector() as waiting:
            for server in servers:
                waiting.register(server, selectors.EVENT_READ)
            [(key, _)] = waiting.select(PATIENCE_SECONDS)
        assert isinstance(key.fileobj, Socket)
        key.fileobj.accept()[0].close()
        return servers.index(key.fileobj)

    def is_left_alone(self, version: int = 4) -> bool:
        """Whether a call goes to the address itself, which nobody has."""
        try:
            self.lab.call(version).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return False

    def meter(self, server: Socket) -> Meter:
        """Where calls of an endpoint on this path are counted; a new one where none were."""
        place = server.getsockname()[:2]
        for counted in self.plane.metrics.meters.all():
            key = counted.key
            if (key.address, key.endpoint_port) == place and key.path == Path.CONNECT:
                return counted.meter
        return Meter()

    @property
    def upstream(self) -> Upstream:
        """What is remembered of the Service ``web``."""
        upstream = self.plane.decider.traffic.upstream(self.port)
        assert upstream is not None
        return upstream

    def state(self, index: int = 0) -> EndpointState:
        """What is remembered of one of its endpoints."""
        return self.upstream.states()[index]


def endpoint_of(server: Socket | Endpoint) -> Endpoint:
    """Where it listens."""
    return server if isinstance(server, Endpoint) else Endpoint(*server.getsockname()[:2])


def _no_report(report: FlowReport) -> None:
    raise AssertionError(report)


@asynccontextmanager
async def running_agent(
    lab: ConnectLab, servers: Sequence[Socket] | None = None, **port: Any
) -> AsyncIterator[ConnectAgent]:
    """One that balances calls; of the Service ``web``, when its servers are given."""
    agent = ConnectAgent(lab)
    if servers is not None:
        agent.serve(servers, **port)
    async with agent.running():
        yield agent
