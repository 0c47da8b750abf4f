"""The agent: its task tree, the order in which it starts, and the order in which it ends.

    sink                 the log's descriptor
    metamanager          unix socket over the store
    admin                metrics, health and status over HTTP
    follower             store -> snapshot -> plane, health checks, DNS and rules
    health checks        probes of endpoints
    plane                listeners and reactor
    kernel paths         BPF, brought up while the plane relays already
    guard                a process that clears away what outlives an agent that is killed
    dns                  resolver of the pods
    interceptor          the kernel's rules, last to come: nothing is diverted to nobody
    links                to other nodes and to the cloud, where one is configured
    cloud                the connection to the cloud
    kubernetes           the API server that is followed, where there is no cloud
    watchdog             the service manager is told of readiness, and of each sign of life

SIGTERM or Ctrl-C: new calls pass by, and the plane drains while everything else goes on; then
the tree is cancelled and unwinds in reverse.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import trio

from edgemesh.app.admin import AdminPages
from edgemesh.app.follow import Follower
from edgemesh.app.guard import Guard, guarding
from edgemesh.app.intercept import Interceptor
from edgemesh.app.kernel_paths import KernelPaths
from edgemesh.app.notify import service_manager
from edgemesh.app.process import (
    listen_for_the_end,
    make_directories,
    opened_store,
    reopen_on_hangup,
)
from edgemesh.app.resolver import serve_resolver
from edgemesh.app.sole import sole_agent
from edgemesh.app.status import AgentState
from edgemesh.app.watchdog import keep_alive
from edgemesh.kernel.conntrack import Conntrack
from edgemesh.kernel.heap import share_one_heap
from edgemesh.kernel.sockets import Address
from edgemesh.meta.server import Metamanager
from edgemesh.model.errors import OperatorError
from edgemesh.model.flows import FlowReport
from edgemesh.model.settings import Settings
from edgemesh.observe.access_log import AccessLog
from edgemesh.observe.admin.server import serve_admin
from edgemesh.observe.flow_log import FlowLog
from edgemesh.observe.log import configure_logging, get_logger
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.observe.sink import LineSink
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.health.checks import HealthChecks
from edgemesh.proxy.health.probe import Prober
from edgemesh.proxy.plane import Plane
from edgemesh.store.store import Store

if TYPE_CHECKING:
    from edgemesh.app.edgehub import CloudConnection
    from edgemesh.app.kubernetes import KubernetesConnection
    from edgemesh.app.links import NodeLinks

# What comes after the drain: rules are taken away, the store is closed.
_UNWINDING_SECONDS = 30.0

_log = get_logger("agent")


async def run_agent(
    settings: Settings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the agent of one node until SIGTERM, SIGINT or cancellation.

    Args:
        settings: complete.
        task_status: started once calls to Services are intercepted and answered.

    Raises:
        OperatorError: a directory, the store, a port or the rules cannot be had, or another
            agent has them.
    """
    began = time.monotonic()
    if settings.bus.cloud and settings.kubernetes.server:
        raise OperatorError(
            "config: bus.cloud and kubernetes.server are both set",
            "objects of an agent come from one of them: leave the other empty",
        )
    share_one_heap()
    make_directories(settings)
    sink = configure_logging(settings.log)
    try:
        with _conntrack(settings) as conntrack:
            async with (
                sole_agent(settings.run_dir) as lock,
                opened_store(settings) as store,
                guarding(settings, lock) as guard,
                service_manager() as manager,
                trio.open_nursery() as nursery,
            ):
                await nursery.start(sink.run)
                nursery.start_soon(reopen_on_hangup, sink)
                asked = trio.Event()
                await nursery.start(listen_for_the_end, asked)
                state = await _start(
                    nursery, settings, store, sink, conntrack=conntrack, guard=guard
                )
                _log.info(
                    "ready",
                    node=settings.node,
                    pid=os.getpid(),
                    services=len(state.plane.decider.snapshot.services),
                    seconds=round(time.monotonic() - began, 3),
                )
                await nursery.start(keep_alive, manager, state.plane, partial(_summary, state))
                task_status.started()
                await asked.wait()
                _log.info("draining", flows=state.plane.open_flows)
                grace_seconds = settings.proxy.drain_grace_seconds
                await manager.stopping(grace_seconds + _UNWINDING_SECONDS)
                await state.interceptor.release()
                await state.plane.drain(grace_seconds)
                nursery.cancel_scope.cancel()
        _log.info("stopped")
    finally:
        sink.flush()
        sink.close()


async def _start(
    nursery: trio.Nursery,
    settings: Settings,
    store: Store,
    sink: LineSink,
    *,
    conntrack: Conntrack | None,
    guard: Guard,
) -> AgentState:
    metamanager = Metamanager(store, settings.meta)
    await nursery.start(metamanager.serve, settings.socket_path)

    plane = Plane(
        settings.proxy,
        settings.netfilter,
        FlowLog(sink).write if settings.log.flows else _drop_report,
        _redirected_datagram(conntrack, settings.proxy.udp_port),
        metrics=Metrics(settings.metrics),
        http=settings.http,
        http2=settings.http2,
        request_log=AccessLog(sink, settings.log),
    )
    health = _health_checks(settings, plane)
    interceptor = Interceptor(settings, plane.flows, plane.sessions)
    follower = Follower(settings)
    metamanager.add_conditions(follower)
    follower.on_snapshot(plane.swap)
    follower.on_snapshot(health.swap)
    follower.on_snapshot(interceptor.want)
    kernel_paths = KernelPaths(settings, plane, follower, interceptor)
    follower.on_snapshot(kernel_paths.want)
    dns = DnsCounters()
    cloud = _cloud_connection(settings, store)
    kubernetes = _kubernetes_connection(settings, store, follower)

    def reach_by_bus(nodes: frozenset[str]) -> None:
        kernel_paths.reach_by_bus(nodes)
        health.look_again()

    links = _node_links(settings, plane, cloud, metamanager, reach_by_bus)
    state = AgentState(
        settings,
        store,
        plane,
        follower,
        interceptor,
        health=health,
        kernel_paths=kernel_paths,
        dns=dns,
        cloud=cloud,
        links=links,
        kubernetes=kubernetes,
    )
    metamanager.add_query("status", state.status)
    metamanager.add_query("breakers", state.breakers)
    metamanager.add_query("paths", state.paths)
    metamanager.add_query("callers", state.callers)
    metamanager.add_query("trace", state.preview)
    metamanager.add_query("flow", state.flow)

    await nursery.start(plane.metrics.run, lambda: plane.decider.snapshot)
    if settings.admin.enabled:
        pages = AdminPages(settings, state, dns, sink).pages()
        await nursery.start(serve_admin, settings.admin, pages)
    await nursery.start(follower.run, metamanager.subscribe_changes())
    await nursery.start(health.run)
    await nursery.start(plane.serve)
    await nursery.start(kernel_paths.run)
    # Not before the ports are ours: another agent's rules must not be cleared away.
    if guard.needed:
        await guard.start()
    if settings.dns.enabled:
        await nursery.start(serve_resolver, settings, lambda: plane.decider.snapshot, dns)
    if settings.netfilter.enabled:
        await nursery.start(interceptor.run)
    if links is not None:
        metamanager.add_query("peers", links.peers)
        await nursery.start(links.run)
    if cloud is not None:
        await nursery.start(cloud.run)
    if kubernetes is not None:
        follower.on_snapshot(kubernetes.swap)
        await nursery.start(kubernetes.run)
    state.serving = True
    return state


def _summary(state: AgentState) -> str:
    services = len(state.plane.decider.snapshot.services)
    return state.unready or f"{services} Services, {state.plane.open_flows} open flows"


def _cloud_connection(settings: Settings, store: Store) -> CloudConnection | None:
    if not settings.bus.cloud:
        return None
    # Certificates and WebSocket cost memory that a node which stands alone need not spend.
    from edgemesh.app.edgehub import CloudConnection  # noqa: PLC0415

    return CloudConnection(settings, store)


def _kubernetes_connection(
    settings: Settings, store: Store, follower: Follower
) -> KubernetesConnection | None:
    if not settings.kubernetes.server:
        return None
    # As above.
    from edgemesh.app.kubernetes import KubernetesConnection  # noqa: PLC0415

    return KubernetesConnection(settings, store, follower)


def _node_links(
    settings: Settings,
    plane: Plane,
    cloud: CloudConnection | None,
    metamanager: Metamanager,
    reach_by_bus: Callable[[frozenset[str]], None],
) -> NodeLinks | None:
    if cloud is None or settings.bus.links == "off":
        return None
    # As above.
    from edgemesh.app.links import NodeLinks  # noqa: PLC0415

    feed = metamanager.subscribe_changes()
    return NodeLinks(
        settings,
        plane,
        cloud.credentials,
        cloud.edgehub,
        feed,
        reach_by_bus=reach_by_bus,
        servicebus_ports=cloud.router.ports,
    )


def _health_checks(settings: Settings, plane: Plane) -> HealthChecks:
    prober = Prober(settings.netfilter.own_mark, settings.http, settings.http2)
    traffic = plane.decider.traffic
    return HealthChecks(traffic, prober.ask, settings.proxy, random.random, plane.way_to)


def _conntrack(settings: Settings) -> AbstractContextManager[Conntrack | None]:
    if settings.netfilter.mode != "redirect":
        return nullcontext()
    try:
        return Conntrack()
    except OSError as error:
        raise OperatorError(
            f"connection tracking cannot be asked: {error.strerror}",
            "redirect mode needs nf_conntrack_netlink; mode tproxy does not",
        ) from error


def _redirected_datagram(
    conntrack: Conntrack | None, udp_port: int
) -> Callable[[Address, Address], Address | None] | None:
    if conntrack is None:
        return None
    return lambda client, local: conntrack.original_destination_udp(client, (local[0], udp_port))


def _drop_report(_report: FlowReport) -> None:
    """Log no flows."""
