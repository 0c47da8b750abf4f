"""What the cloud tells about itself: ``edgemesh status`` and the pages of its admin server."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from edgemesh import __version__
from edgemesh.app.cloud_hub import CloudHub
from edgemesh.app.follow import Follower
from edgemesh.app.kubernetes_metrics import kubernetes_families
from edgemesh.app.links_metrics import link_families
from edgemesh.app.metrics import (
    build_family,
    flow_families,
    knowledge_families,
    log_family,
    reactor_families,
)
from edgemesh.bus.link.links import Links
from edgemesh.model.cloud_status import CloudStatus, ConnectedNode
from edgemesh.model.settings import Settings
from edgemesh.model.status import StoreStatus
from edgemesh.observe.admin.pages import Page, json_page, text_page
from edgemesh.observe.metrics.exposition import CONTENT_TYPE, Family, counter, gauge, labels
from edgemesh.observe.metrics.process import memory_bytes, process_families
from edgemesh.observe.sink import LineSink
from edgemesh.proxy.plane import Plane
from edgemesh.store.replicas import Replica
from edgemesh.store.store import Store
from edgemesh.wire.message import Message

if TYPE_CHECKING:
    from edgemesh.app.kubernetes_cloud import CloudKubernetes


class CloudState:
    """The cloud's parts, for those who ask about them; it only looks at what others own.

    Args:
        settings: complete.
        store: see there.
        hub: see there.
        follower: see there.
        sink: the log's.
        links: see there.
        plane: where streams of nodes end.
        kubernetes: see there, None where no API server is configured.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        hub: CloudHub,
        follower: Follower,
        *,
        sink: LineSink,
        links: Links,
        plane: Plane,
        kubernetes: CloudKubernetes | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._hub = hub
        self._follower = follower
        self._sink = sink
        self._links = links
        self._plane = plane
        self._kubernetes = kubernetes
        self._began = time.monotonic()

    async def status(self, _request: Message | None = None) -> CloudStatus:
        """Answer ``null/status``."""
        await trio.lowlevel.checkpoint()
        settings = self._settings
        kubernetes = None if self._kubernetes is None else self._kubernetes.status()
        return CloudStatus(
            name=settings.cloud.name,
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._began, 1),
            listeners={
                "hub": settings.cloud.hub_listen,
                "enrolment": settings.cloud.enrolment_listen,
                "rest": settings.cloud.rest_listen,
                "admin": (settings.admin.listen,) if settings.admin.enabled else (),
            },
            store=StoreStatus(
                url=settings.shown_store_url,
                revision=self._store.revision,
                objects=self._follower.objects,
            ),
            nodes=tuple(self._nodes()),
            refused=dict(self._hub.refusals.by_reason),
            memory_bytes=memory_bytes()[1],
            replicas=tuple(replica.name for replica in self._living()),
            problems=(
                *(f"{key}: {why}" for key, why in self._follower.problems.items()),
                *(() if kubernetes is None else kubernetes.problems()),
            ),
            kubernetes=kubernetes,
        )

    def pages(self) -> dict[str, Callable[[], Awaitable[Page]]]:
        """The pages of the admin server by their paths."""
        return {
            "/metrics": self._metrics,
            "/status": self._status,
            "/readyz": self._ready,
            "/healthz": self._health,
        }

    async def _metrics(self) -> Page:
        await trio.lowlevel.checkpoint()
        plane = self._plane
        now = trio.current_time()
        text = plane.metrics.text(plane.decider.snapshot, now, self._families())
        return Page(text, CONTENT_TYPE)

    async def _status(self) -> Page:
        return json_page(await self.status())

    async def _ready(self) -> Page:
        # The admin server starts after everything else.
        await trio.lowlevel.checkpoint()
        return text_page("ready")

    async def _health(self) -> Page:
        await trio.lowlevel.checkpoint()
        return text_page("alive")

    def _nodes(self) -> list[ConnectedNode]:
        name = self._settings.cloud.name
        return [replace(node, replica=name) for node in self._hub.sessions.connected()]

    def _living(self) -> list[Replica]:
        return self._hub.replicas.living if self._hub.replicas is not None else []

    def _families(self) -> Iterator[Family]:
        yield build_family(self._settings.cloud.name)
        yield from process_families()
        yield log_family(self._sink)
        plane = self._plane
        yield from knowledge_families(self._store.revision, plane.decider.snapshot)
        yield from flow_families(plane.reports)
        yield from reactor_families(plane.reactor)
        nodes = self._hub.sessions.connected()
        yield gauge(
            "edgemesh_cloud_nodes",
            "Nodes that are connected, by kind.",
            [
                (labels(kind=kind), sum(node.kind == kind for node in nodes))
                for kind in ("edgemesh", "KubeEdge")
            ],
        )
        yield gauge(
            "edgemesh_cloud_messages_waiting",
            "Messages that nodes have not acknowledged or not been sent yet.",
            [("", sum(node.waiting for node in nodes))],
        )
        yield from link_families(self._links)
        if self._kubernetes is not None:
            yield from kubernetes_families(self._kubernetes.status())
        yield counter(
            "edgemesh_cloud_refusals_total",
            "What nodes, or others at the cloud's ports, were refused, by reason.",
            [(labels(reason=why), n) for why, n in self._hub.refusals.by_reason.items()],
        )
