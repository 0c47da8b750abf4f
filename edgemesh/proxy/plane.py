"""The data plane put together: its listeners, its reactor, its flows, and how it drains."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from functools import partial

import trio

from edgemesh.kernel.sockets import (
    Address,
    bound_kernel_memory,
    ipv6_available,
    tcp_listener,
    udp_listener,
)
from edgemesh.model.errors import OperatorError
from edgemesh.model.flows import Ending, FlowReport, Mover
from edgemesh.model.policies import Path
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Http2Settings, HttpSettings, NetfilterSettings, ProxySettings
from edgemesh.model.streams import InboundStream
from edgemesh.observe.log import get_logger
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.policy.traffic.traffic import RemovedEndpoint
from edgemesh.proxy.accept import TcpAcceptor
from edgemesh.proxy.context import Context
from edgemesh.proxy.entering import Entrance
from edgemesh.proxy.forward.bulk import begin_bulk
from edgemesh.proxy.forward.datagram import DatagramAcceptor
from edgemesh.proxy.forward.movers import Movers
from edgemesh.proxy.forward.pipes import Pipes
from edgemesh.proxy.forward.relay import resume_relay
from edgemesh.proxy.forward.session import Session, Sessions
from edgemesh.proxy.http.shared import RequestLog
from edgemesh.reactor.virtual import VirtualSocket

_log = get_logger("plane")


def is_compiled() -> bool:
    """Whether the data plane was compiled to machine code (scripts/compile)."""
    return not __file__.endswith(".py")


class Plane(Context):
    """The context of all flows, with what makes them: listeners.

    Attributes:
        sessions: UDP sessions that are not over, the longest silent one first.
        pipes: of flows that are spliced.
        at_end: what else `serve` ends with, while the reactor still works.
        ended: set when everything is over that `serve` has forwarded.
        entrance: where streams come in.
    """

    def __init__(
        self,
        settings: ProxySettings,
        netfilter: NetfilterSettings,
        write_report: Callable[[FlowReport], None],
        redirected_datagram: Callable[[Address, Address], Address | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        metrics: Metrics | None = None,
        http: HttpSettings | None = None,
        http2: Http2Settings | None = None,
        request_log: RequestLog | None = None,
        listening: bool = True,
    ) -> None:
        """Put the parts together; nothing listens before `serve`.

        Args:
            settings: of the data plane.
            netfilter: mode, family and marks of the interception.
            write_report: takes each flow's report; must not block.
            redirected_datagram: in redirect mode, where a datagram (client, local address) was
                going.
            clock: monotonic, in seconds.
            metrics: what is counted is added to these.
            http: limits and deadlines of the ``http`` path.
            http2: what HTTP/2 has besides.
            request_log: takes reports of requests.
            listening: False where calls come by streams only, as in the cloud; endpoints are
                chosen here then.
        """
        super().__init__(
            settings,
            netfilter.own_mark,
            Movers(resume_relay),
            write_report,
            clock,
            metrics=metrics,
            http=http,
            http2=http2,
            request_log=request_log,
        )
        self.sessions: Sessions = OrderedDict()
        self.at_end: list[Callable[[], None]] = []
        self.ended = trio.Event()
        self.pipes = Pipes(settings.max_pipes, settings.splice_bytes)
        if settings.splice == "auto":
            self.movers.offer(Mover.SPLICE, partial(begin_bulk, self.pipes))
        self._redirected = netfilter.mode == "redirect"
        self._redirected_datagram = redirected_datagram
        self._families = {
            "ipv4": (socket.AF_INET,),
            "ipv6": (socket.AF_INET6,),
            "both": (socket.AF_INET, socket.AF_INET6),
        }[netfilter.family]
        self._acceptors: list[TcpAcceptor | DatagramAcceptor] = []
        self._listening = listening
        self.decider.chooses = not listening
        self.entrance = Entrance(self, self.sessions)

    def enter(self, stream: VirtualSocket, wanted: InboundStream) -> None:
        """Let a stream of another end of the mesh in, or refuse it; from within a turn.

        Args:
            stream: neither accepted nor refused yet.
            wanted: what it is for.

        Ownership: the stream is closed by the plane.
        """
        self.entrance.enter(stream, wanted)

    def swap(self, snapshot: Snapshot) -> None:
        """Decide by ``snapshot`` from now on.

        Flows that are under way go on, but where a policy wants them closed with their endpoint.
        """
        before = self.decider.snapshot.udp_inbound
        to_close = self.decider.swap(snapshot)
        if to_close:
            self._close_relayed(to_close)
        if before.keys() - snapshot.udp_inbound.keys():
            # What answers in an endpoint's place would take datagrams that are for it again.
            self._end_sessions(Session.is_stale, Ending.CLOSED, "endpoint removed")
        self.http.plans.forget(self.decider.snapshot)
        self.inbound.look_again()

    def _close_relayed(self, removed: AbstractSet[RemovedEndpoint]) -> None:
        """End the flows of endpoints that are gone; requests that are under way go on."""
        for flow in list(self.flows):
            verdict, endpoint = flow.verdict, flow.endpoint
            if verdict is None or endpoint is None or verdict.path == Path.HTTP:
                continue
            target = verdict.target
            if target and (target.key, (endpoint.address, endpoint.port)) in removed:
                flow.finish(Ending.ENDPOINT_REMOVED)

    @property
    def open_flows(self) -> int:
        """TCP flows and UDP sessions that are not over."""
        return len(self.flows) + len(self.sessions)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and forward until cancelled; started once every listener is bound.

        Raises:
            OperatorError: a listener cannot be bound.

        Ownership: listeners and flows are closed at the end.
        Cancellation: cuts what `drain` has not let finish.
        """
        with self.reactor, self.pipes, ExitStack() as listeners:
            self._listen(listeners)
            try:
                await self.reactor.run(task_status=task_status)
            finally:
                self._cut_all()
                for end in list(self.at_end):
                    end()
                # Who carries streams is told of their end.
                self.reactor.settle()
                self.ended.set()

    async def drain(self, grace_seconds: float) -> None:
        """Accept nothing more and return when all TCP flows are over, at latest after a grace.

        A second call only waits.
        """
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            self.reactor.call(acceptor, acceptor.stop)
        self.draining = True
        for connection in list(self.http.connections):
            self.reactor.call(connection, connection.drain)
        self._end_sessions(Session.is_inbound, Ending.DRAIN)
        if not self.flows:
            self.all_over.set()
        with trio.move_on_after(grace_seconds):
            await self.all_over.wait()

    def _listen(self, listeners: ExitStack) -> None:
        transparent = not self._redirected
        if not self._listening:
            return
        for family in self._families:
            if family == socket.AF_INET6 and len(self._families) > 1 and not ipv6_available():
                _log.info("IPv6 is left alone: this kernel has none")
                continue
            try:
                tcp = tcp_listener(family, self.settings.tcp_port, transparent=transparent)
                listeners.enter_context(tcp)
                bound_kernel_memory(tcp, self.settings.flow_kernel_bytes)
                udp = udp_listener(family, self.settings.udp_port, transparent=transparent)
                listeners.enter_context(udp)
            except OSError as error:
                ports = f"tcp {self.settings.tcp_port}, udp {self.settings.udp_port}"
                raise OperatorError(
                    f"cannot listen on {ports} ({family.name}): {error.strerror}",
                    "another agent may be running here, or root is missing",
                ) from error
            self._acceptors += [
                TcpAcceptor(self, tcp, redirected=self._redirected),
                DatagramAcceptor(self, self.sessions, udp, self._redirected_datagram),
            ]
        for acceptor in self._acceptors:
            acceptor.start()

    def _end_sessions(
        self, which: Callable[[Session], bool], ending: Ending, reason: str = ""
    ) -> None:
        for session in [session for session in self.sessions.values() if which(session)]:
            self.reactor.call(session, partial(session.finish, ending, reason))

    def _cut_all(self) -> None:
        for flow in list(self.flows):
            flow.finish(Ending.DRAIN)
        for session in list(self.sessions.values()):
            session.finish(Ending.DRAIN)
        self.http.pool.close_all()
        self.http2.pool.close_all()
