"""What the agent tells about itself: ``edgemesh status`` and the decisions of ``trace``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from edgemesh import __version__
from edgemesh.app.follow import Follower
from edgemesh.app.intercept import Interceptor
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import Transport
from edgemesh.model.settings import Settings
from edgemesh.model.status import (
    AgentStatus,
    FlowStatus,
    InterceptionStatus,
    SnapshotStatus,
    StoreStatus,
)
from edgemesh.model.trace import FlowAnswer, FlowQuestion, TraceAnswer, TraceQuestion
from edgemesh.policy.explain import explain_call
from edgemesh.proxy.context import OpenFlow
from edgemesh.proxy.plane import Plane
from edgemesh.store.store import Store
from edgemesh.wire.message import Message

Question = TypeVar("Question")


class AgentState:
    """The agent's parts, for those who ask about them; it only looks at what others own."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        plane: Plane,
        follower: Follower,
        interceptor: Interceptor,
    ) -> None:
        """Count the uptime from now."""
        self._settings = settings
        self._store = store
        self._follower = follower
        self.interceptor = interceptor
        self._began = time.monotonic()
        self.plane = plane

    def status(self, _request: Message) -> AgentStatus:
        """Answer ``null/status``."""
        settings = self._settings
        return AgentStatus(
            node=settings.node,
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._began, 1),
            listeners={
                "tcp": (f"*:{settings.proxy.tcp_port}",),
                "udp": (f"*:{settings.proxy.udp_port}",),
                "dns": settings.dns.listen if settings.dns.enabled else (),
            },
            interception=InterceptionStatus(
                backend=settings.netfilter.backend,
                mode=settings.netfilter.mode,
                family=settings.netfilter.family,
                fail=settings.netfilter.fail,
                installed=self.interceptor.installed,
                addresses=self.interceptor.addresses,
                enabled=settings.netfilter.enabled,
                revision=self.interceptor.revision,
            ),
            store=StoreStatus(
                url=settings.shown_store_url,
                revision=self._store.revision,
                objects=self._follower.objects,
            ),
            snapshot=self._snapshot_status(),
            flows=self._flow_status(),
            paths={"relay": "available"},
            memory_bytes=_resident_bytes(),
            problems=self._problems(),
        )

    def preview(self, request: Message) -> TraceAnswer:
        """Answer ``null/trace``.

        Raises:
            OperatorError: the question is not understood.
        """
        decider = self.plane.decider
        return explain_call(decider.snapshot, _question(request, TraceQuestion), decider.preview)

    def flow(self, request: Message) -> FlowAnswer:
        """Answer ``null/flow``.

        Raises:
            OperatorError: the question is not understood.
        """
        question = _question(request, FlowQuestion)
        client = (question.address, question.port)
        for flow in self.plane.flows:
            if flow.client_address == client:
                endpoint = flow.endpoint if _connected(flow) else None
                return FlowAnswer(True, endpoint, flow.verdict.path if flow.verdict else "")
        return FlowAnswer(known=False)

    def _snapshot_status(self) -> SnapshotStatus:
        snapshot = self.plane.decider.snapshot
        return SnapshotStatus(
            revision=snapshot.revision,
            services=len(snapshot.services),
            endpoints=sum(
                len(port.endpoints)
                for service in snapshot.services.values()
                for port in service.ports
            ),
        )

    def _flow_status(self) -> FlowStatus:
        reports = self.plane.reports
        return FlowStatus(
            tcp_open=reports.open[Transport.TCP],
            udp_open=reports.open[Transport.UDP],
            total=reports.opened.total(),
            refused=dict(self.plane.metrics.refusals.by_reason),
            by_ending=dict(reports.endings),
        )

    def _problems(self) -> tuple[str, ...]:
        problems = [f"{key}: {problem}" for key, problem in self._follower.problems.items()]
        if self.interceptor.problem:
            problems.append(f"rules: {self.interceptor.problem}")
        if self.plane.reactor.bugs:
            problems.append(f"{self.plane.reactor.bugs} connections ended by a bug, see the log")
        return tuple(problems)


def _question(request: Message, kind: type[Question]) -> Question:
    try:
        return msgspec.json.decode(request.content, type=kind)
    except msgspec.MsgspecError as error:
        raise OperatorError(f"the trace's question is not understood: {error}") from error


def _connected(flow: OpenFlow) -> bool:
    try:
        return flow.upstream is not None and bool(flow.upstream.getpeername())
    except OSError:
        # ENOTCONN: it is still being connected.
        return False


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
