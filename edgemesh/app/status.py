"""What the agent tells about itself: ``edgemesh status`` and the decisions of ``trace``."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from edgemesh import __version__
from edgemesh.app.breakers import breakers
from edgemesh.app.callers import callers
from edgemesh.app.follow import Follower
from edgemesh.app.intercept import Interceptor
from edgemesh.app.kernel_paths import KernelPaths
from edgemesh.app.paths import service_paths
from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.meters import STATUS_CLASSES, by_class
from edgemesh.model.services import Transport
from edgemesh.model.settings import Settings
from edgemesh.model.status import (
    AgentStatus,
    CallersQuestion,
    FlowStatus,
    InterceptionStatus,
    ServicesQuestion,
    SnapshotStatus,
    StoreStatus,
)
from edgemesh.model.trace import FlowAnswer, FlowQuestion, TraceAnswer, TraceQuestion
from edgemesh.observe.metrics.exposition import Family
from edgemesh.observe.metrics.process import memory_bytes
from edgemesh.observe.slices import run_in_slices, take_slice
from edgemesh.policy.explain import explain_call
from edgemesh.policy.paths import path_states
from edgemesh.proxy.context import OpenFlow
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.health.checks import HealthChecks
from edgemesh.proxy.plane import Plane, is_compiled
from edgemesh.proxy.report import named_way
from edgemesh.store.store import Store
from edgemesh.wire.message import Message

if TYPE_CHECKING:
    from edgemesh.app.edgehub import CloudConnection
    from edgemesh.app.kubernetes import KubernetesConnection
    from edgemesh.app.links import NodeLinks

Question = TypeVar("Question")


class AgentState:
    """The agent's parts, for those who ask about them; it only looks at what others own.

    Attributes:
        store, plane, interceptor, health: see there.
        serving: everything has been started.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        plane: Plane,
        follower: Follower,
        interceptor: Interceptor,
        *,
        health: HealthChecks,
        kernel_paths: KernelPaths,
        dns: DnsCounters,
        cloud: CloudConnection | None = None,
        links: NodeLinks | None = None,
        kubernetes: KubernetesConnection | None = None,
    ) -> None:
        """Count the uptime from now."""
        self._settings = settings
        self.health = health
        self._kernel_paths = kernel_paths
        self._dns = dns
        self._cloud = cloud
        self._links = links
        self._kubernetes = kubernetes
        self.store = store
        self._follower = follower
        self.interceptor = interceptor
        self._began = time.monotonic()
        self.plane = plane
        self.serving = False

    def cloud(self) -> EdgehubStatus | None:
        """The connection to the cloud, None where none is configured."""
        return None if self._cloud is None else self._cloud.status()

    def kubernetes(self) -> KubernetesStatus | None:
        """The API server that is followed, None where none is configured."""
        return None if self._kubernetes is None else self._kubernetes.status()

    def link_families(self) -> Iterable[Family]:
        """Metrics of links; none without a cloud."""
        return () if self._links is None else self._links.families()

    @property
    def unready(self) -> str:
        """What keeps the agent from serving calls as it should, "" when nothing does."""
        if self.plane.draining:
            return "draining"
        if not self.serving:
            return "starting"
        interceptor = self.interceptor
        missing = interceptor.needed and not interceptor.installed
        if self._settings.netfilter.enabled and missing:
            return f"rules are not installed: {self.interceptor.problem}"
        return ""

    async def status(self, _request: Message | None = None) -> AgentStatus:
        """Answer ``null/status``."""
        settings = self._settings
        responses = [0] * len(STATUS_CLASSES)
        await run_in_slices(self.plane.metrics.meters.add_responses(responses))
        return AgentStatus(
            node=settings.node,
            version=__version__,
            compiled=is_compiled(),
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._began, 1),
            listeners={
                "tcp": (f"*:{settings.proxy.tcp_port}",),
                "udp": (f"*:{settings.proxy.udp_port}",),
                "dns": settings.dns.listen if settings.dns.enabled else (),
                "admin": (settings.admin.listen,) if settings.admin.enabled else (),
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
                endpoints=self.interceptor.endpoints,
                install=settings.netfilter.install,
                needed=self.interceptor.needed,
                need=self.interceptor.need,
            ),
            store=StoreStatus(
                url=settings.shown_store_url,
                revision=self.store.revision,
                objects=self._follower.objects,
            ),
            snapshot=self._snapshot_status(),
            flows=self._flow_status(),
            paths=path_states(self.plane.decider.available),
            memory_bytes=memory_bytes()[1],
            problems=self._problems(),
            cloud=self.cloud(),
            kubernetes=self.kubernetes(),
            requests=by_class(responses),
            dns={name: count for name, count in dataclasses.asdict(self._dns).items() if count},
        )

    async def breakers(self, request: Message) -> list[msgspec.Raw]:
        """Answer ``null/breakers``: a list of BreakerStatus, encoded one by one.

        Raises:
            OperatorError: the question is not understood.
        """
        question = _question(request, ServicesQuestion)
        decider, now = self.plane.decider, self.plane.reactor.clock()
        return await _encoded(breakers(decider.snapshot, decider.traffic, now, question))

    async def paths(self, request: Message) -> list[msgspec.Raw]:
        """Answer ``null/paths``: a list of PathStatus, encoded one by one.

        Raises:
            OperatorError: the question is not understood.
        """
        question = _question(request, ServicesQuestion)
        decider = self.plane.decider
        return await _encoded(service_paths(decider.snapshot, decider.available, question))

    async def callers(self, request: Message) -> list[msgspec.Raw]:
        """Answer ``null/callers``: a list of CallerStatus, encoded one by one.

        Raises:
            OperatorError: the question is not understood.
        """
        question = _question(request, CallersQuestion)
        return await _encoded(callers(self.plane.decider.snapshot, question))

    def preview(self, request: Message) -> TraceAnswer:
        """Answer ``null/trace``.

        Raises:
            OperatorError: the question is not understood.
        """
        decider = self.plane.decider
        question = _question(request, TraceQuestion)
        answer = explain_call(decider.snapshot, question, decider.preview, decider.available)
        target = answer.target or answer.port
        endpoints = answer.candidates + (target.endpoints if target else ())
        ways = {each.node: named_way(self.plane.way_to(each), each) for each in endpoints}
        return dataclasses.replace(answer, ways={node: way for node, way in ways.items() if way})

    def flow(self, request: Message) -> FlowAnswer:
        """Answer ``null/flow``.

        Raises:
            OperatorError: the question is not understood.
        """
        question = _question(request, FlowQuestion)
        client = (question.address, question.port)
        for flow in self.plane.flows:
            # Addresses of other nodes' clients may be the same as of those here.
            if flow.stream is None and flow.client_address == client:
                endpoint = flow.endpoint if _connected(flow) else None
                path = flow.verdict.path if flow.verdict else ""
                return FlowAnswer(True, endpoint, path, named_way(flow.way, endpoint))
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
        if self._kernel_paths.problem:
            problems.append(self._kernel_paths.problem)
        if self.plane.reactor.bugs:
            problems.append(f"{self.plane.reactor.bugs} connections ended by a bug, see the log")
        cloud = self.cloud()
        if cloud is not None:
            problems += cloud.problems()
        kubernetes = self.kubernetes()
        if kubernetes is not None:
            problems += kubernetes.problems()
        return tuple(problems)


async def _encoded(pieces: Iterator[Sequence[object]]) -> list[msgspec.Raw]:
    """An answer of many parts, made a slice at a time so that flows do not wait for it."""
    found: list[msgspec.Raw] = []
    while taken := take_slice(pieces):
        found += (msgspec.Raw(msgspec.json.encode(one)) for piece in taken for one in piece)
        await trio.lowlevel.checkpoint()
    return found


def _question(request: Message, kind: type[Question]) -> Question:
    try:
        return msgspec.json.decode(request.content, type=kind)
    except msgspec.MsgspecError as error:
        raise OperatorError(f"the question is not understood: {error}") from error


def _connected(flow: OpenFlow) -> bool:
    try:
        return flow.upstream is not None and bool(flow.upstream.getpeername())
    except OSError:
        # ENOTCONN: it is still being connected.
        return False
