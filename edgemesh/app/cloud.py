"""The cloud: its task tree, and the order in which it starts and ends.

    sink                 the log's descriptor
    metamanager          unix socket over the store, for ``edgemesh apply`` and the others
    follower             store -> snapshot, for the conditions of policies
    plane                streams of nodes that end here, at Services that Rules lead to
    links                streams of nodes, which are passed on
    hub                  what nodes are sent, revocations, enrolment, connections
    router               rules, the REST ingress, what nodes bring
    kubernetes           the API server that is followed, where one is configured
    admin                metrics, health and status over HTTP
    watchdog             the service manager is told of readiness, and of each sign of life

SIGTERM or Ctrl-C: nodes are told to go elsewhere, then the tree unwinds in reverse.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from edgemesh.app.cloud_hub import CloudHub
from edgemesh.app.cloud_links import CloudLinks
from edgemesh.app.cloud_router import CloudRouter
from edgemesh.app.cloud_status import CloudState
from edgemesh.app.cloud_streams import RuledStreams, cloud_plane
from edgemesh.app.follow import Follower
from edgemesh.app.notify import ServiceManager, service_manager
from edgemesh.app.process import (
    listen_for_the_end,
    make_directories,
    opened_store,
    reopen_on_hangup,
)
from edgemesh.app.sole import sole_agent
from edgemesh.app.watchdog import keep_alive
from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.bus.router.streams import open_servicebus
from edgemesh.kernel.heap import share_one_heap
from edgemesh.meta.controller import Controller
from edgemesh.meta.server import Metamanager
from edgemesh.model.errors import OperatorError
from edgemesh.model.paths import ALL_PATHS
from edgemesh.model.settings import Settings
from edgemesh.observe.admin.server import serve_admin
from edgemesh.observe.log import configure_logging, get_logger
from edgemesh.observe.sink import LineSink
from edgemesh.store.store import Store

# Nodes are told to go elsewhere, the store is closed: some seconds, more on a busy machine.
_STOPPING_SECONDS = 30.0

if TYPE_CHECKING:
    from edgemesh.app.kubernetes_cloud import CloudKubernetes

_log = get_logger("cloud")


async def run_cloud(
    settings: Settings, *, task_status: trio.TaskStatus[CloudHub] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the cloud until SIGTERM, SIGINT or cancellation.

    Args:
        settings: complete.
        task_status: started once nodes can enrol and connect.

    Raises:
        OperatorError: a directory, the store, a port or the authority cannot be had, or another
            process has them.
    """
    began = time.monotonic()
    share_one_heap()
    if not settings.cloud.name:
        named = replace(settings.cloud, name=socket.gethostname().lower())
        settings = replace(settings, cloud=named)
    make_directories(settings)
    sink = configure_logging(settings.log)
    try:
        async with (
            sole_agent(settings.run_dir),
            opened_store(settings) as store,
            service_manager() as manager,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(sink.run)
            nursery.start_soon(reopen_on_hangup, sink)
            asked = trio.Event()
            await nursery.start(listen_for_the_end, asked)
            hub = await _start(nursery, settings, store, sink, manager)
            _log.info(
                "ready",
                cloud=settings.cloud.name,
                pid=os.getpid(),
                revision=store.revision,
                seconds=round(time.monotonic() - began, 3),
            )
            task_status.started(hub)
            await asked.wait()
            await manager.stopping(_STOPPING_SECONDS)
            await hub.release()
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
    manager: ServiceManager,
) -> CloudHub:
    metamanager = Metamanager(store, settings.meta)
    follower = Follower(settings)
    # Objects stand here as on a node that can do everything: each node says what it cannot.
    follower.available = ALL_PATHS
    metamanager.add_conditions(follower)
    credentials = await _credentials(settings, store)
    hub = CloudHub(settings, store, credentials, Controller(settings.meta).apply)
    plane = cloud_plane(settings, sink)
    follower.on_snapshot(plane.swap)
    links = CloudLinks(settings, credentials, hub.door, plane, hub.replicas)
    links.links.take_services(plane.enter)
    router = None
    if settings.cloud.rest_listen:
        open_stream = partial(open_servicebus, links.links, plane.reactor)
        router = CloudRouter(settings, store, hub, open_stream)
    authority = credentials.authority_pem.decode()
    kubernetes = _kubernetes(settings, store, follower, router, authority)
    if kubernetes is not None:
        hub.enrolment.review_with(kubernetes)
    state = CloudState(
        settings,
        store,
        hub,
        follower,
        sink=sink,
        links=links.links,
        plane=plane,
        kubernetes=kubernetes,
    )
    metamanager.add_query("status", state.status)
    metamanager.add_query("peers", links.peers)
    await nursery.start(metamanager.serve, settings.socket_path)
    await nursery.start(follower.run, metamanager.subscribe_changes())
    await nursery.start(plane.metrics.run, lambda: plane.decider.snapshot)
    await nursery.start(plane.serve)
    await nursery.start(links.run)
    await nursery.start(hub.run)
    if router is not None:
        await nursery.start(router.run)
        streams = RuledStreams(plane, router.rulebook, router.outcomes)
        links.links.take_services(streams.enter)
    if kubernetes is not None:
        follower.on_snapshot(kubernetes.swap)
        await nursery.start(kubernetes.run)
    if settings.admin.enabled:
        await nursery.start(serve_admin, settings.admin, state.pages())
    await nursery.start(
        keep_alive, manager, plane, lambda: f"{len(hub.sessions)} nodes are connected"
    )
    return hub


def _kubernetes(
    settings: Settings,
    store: Store,
    follower: Follower,
    router: CloudRouter | None,
    authority: str,
) -> CloudKubernetes | None:
    if not settings.kubernetes.server:
        return None
    # A client of HTTP costs memory that a cloud without an API server need not spend.
    from edgemesh.app.kubernetes_cloud import CloudKubernetes  # noqa: PLC0415

    return CloudKubernetes(settings, store, follower, router, authority)


async def _credentials(settings: Settings, store: Store) -> Credentials:
    folder = settings.state_dir / "pki"
    try:
        return await Credentials.open(store, settings.cloud, folder, settings.cloud.name)
    except CertificateProblem as problem:
        raise OperatorError(str(problem)) from problem
    except OSError as error:
        raise OperatorError(f"directory {folder}: {error.strerror}") from error
