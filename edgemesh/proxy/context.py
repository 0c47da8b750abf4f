"""What all stages of all flows share. It knows none of them; `plane` puts them together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Protocol

import trio

from edgemesh.kernel.sockets import Address, Socket
from edgemesh.model.flows import Ending, FlowReport, Mover
from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.peers import Way
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import Http2Settings, HttpSettings, ProxySettings
from edgemesh.model.streams import CLOUD, InboundStream
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.policy.promotion import Behaviour, Promotion
from edgemesh.policy.traffic.events import Event
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.decide import Decider
from edgemesh.proxy.http.shared import HttpShared, NoRequestLog, RequestLog
from edgemesh.proxy.http2.shared import Http2Shared
from edgemesh.proxy.remote import Remote
from edgemesh.proxy.report import Reports
from edgemesh.proxy.transport_server import TransportServer
from edgemesh.reactor.reactor import Reactor

if TYPE_CHECKING:
    from edgemesh.proxy.forward.movers import Movers

# Datagrams are up to 65,535 bytes; the relay reads `relay_buffer_bytes` of it.
_BUFFER_BYTES = 65536


class OpenFlow(Protocol):
    """A TCP flow that is not over, as far as others need to know it."""

    client_address: Address
    destination: Address
    verdict: Verdict | None
    endpoint: Endpoint | None
    upstream: Socket | None
    way: str
    stream: InboundStream | None

    def finish(self, ending: Ending) -> None:
        """End and report it."""
        ...


class PromotionRule(Protocol):
    """Tells what is to move a flow's bytes; see `Promotion`."""

    def decide(self, behaviour: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        """The mover that is to have a flow from now on."""
        ...

    def notice_from(
        self, behaviour: Behaviour | None, mover: Mover, suitable: AbstractSet[Mover]
    ) -> int:
        """From how many bytes on the next that passes is to be noted."""
        ...


class Context:
    """The data plane as its stages see it.

    Attributes:
        settings: limits and deadlines.
        own_mark: SO_MARK of our own sockets.
        reactor, decider, metrics, reports, http, http2: see there.
        inbound: what lets calls through to this node's endpoints.
        buffer: what everything is read into; a handler uses it within one event only.
        promotion: tells which mover suits a flow.
        movers: those that can be had.
        remote: carries calls to other ends of the mesh; None where every endpoint is dialled.
        prefers_direct: endpoints of other nodes are dialled at their own addresses all the same.
        flows: TCP flows that are not over.
        draining: nothing new is accepted any more.
        all_over: set when the last flow has ended while draining.
    """

    def __init__(
        self,
        settings: ProxySettings,
        own_mark: int,
        movers: Movers,
        write_report: Callable[[FlowReport], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        metrics: Metrics | None = None,
        http: HttpSettings | None = None,
        http2: Http2Settings | None = None,
        request_log: RequestLog | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            settings: of the data plane.
            own_mark: as above.
            movers: as above.
            write_report: takes each flow's report; must not block.
            clock: monotonic, in seconds.
            metrics: what is counted is added to these.
            http: limits and deadlines of the ``http`` path.
            http2: what HTTP/2 has besides.
            request_log: takes reports of requests.
        """
        self.settings = settings
        self.own_mark = own_mark
        self.reactor = Reactor(settings.repoll_seconds, clock)
        self.decider = Decider(settings, random.random, clock)
        self.inbound = TransportServer(self.reactor, self.decider)
        self.metrics = Metrics(MetricsSettings()) if metrics is None else metrics
        self.reports = Reports(write_report, self.metrics)
        self.http = HttpShared(
            http or HttpSettings(),
            settings,
            self.reactor,
            self.decider,
            log=request_log or NoRequestLog(),
            random=random.random,
        )
        self.http2 = Http2Shared(http2 or Http2Settings(), self.http.settings, self.reactor)
        self.buffer = memoryview(bytearray(max(_BUFFER_BYTES, settings.relay_buffer_bytes)))
        self.relay_buffer = self.buffer[: settings.relay_buffer_bytes]
        self.promotion: PromotionRule = Promotion(settings.splice_after_bytes)
        self.movers = movers
        self.remote: Remote | None = None
        self.prefers_direct = False
        self.flows: set[OpenFlow] = set()
        self.draining = False
        self.all_over = trio.Event()

    def way_to(self, endpoint: Endpoint) -> str:
        """How an endpoint is reached by the bus; "" where it is dialled at its own address."""
        node = endpoint.node
        if node == CLOUD:
            # It stands for all that the cloud would choose of: there is no address to dial.
            return Way.CLOUD
        if self.remote is None or not node or node == self.decider.snapshot.node:
            return ""
        return "" if self.prefers_direct else self.remote.route(node)

    def tell(self, event: Event, path: Path = Path.HTTP) -> None:
        """Log and count that a breaker has opened or closed, for calls by ``path``."""
        self.reports.breaker_turned(event, path)

    def forget(self, flow: OpenFlow) -> None:
        """Let go of a flow that is over."""
        self.flows.discard(flow)
        if self.draining and not self.flows:
            self.all_over.set()
