"""A cloud's edgecontroller over a real store, before a stand-in for the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import trio
from apiserver.front import Front
from apiserver.resources import definition_of
from apiserver.server import ApiServer, run_apiserver

from edgemesh.app.follow import Follower
from edgemesh.app.kubernetes import KubernetesConnection
from edgemesh.app.kubernetes_cloud import CloudKubernetes
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.meta.server import Metamanager
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.objects import KubeObject, ObjectKey
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.store.router import RouterStore
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store

Body = dict[str, Any]
POLICIES = "/apis/policy.edgemesh.io/v1alpha1/trafficpolicies"
RULES = "/apis/rules.kubeedge.io/v1/rules"
EVENTS = "/apis/events.k8s.io/v1/events"
LEASES = "/apis/coordination.k8s.io/v1/leases"

QUICK = KubernetesSettings(
    missing_seconds=0.1,
    first_retry_seconds=0.02,
    max_retry_seconds=0.1,
    status_seconds=0.02,
    rule_status_seconds=0.05,
    renew_seconds=0.1,
)


class Source(Protocol):
    """Who follows: an agent's connection, or a cloud's."""

    def status(self) -> KubernetesStatus: ...

    def swap(self, snapshot: Snapshot, /) -> None: ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None: ...


class Rules:
    """What a router has of Rules, without a router."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.tables = RouterStore(store, max_errors=10, max_deleted=10)
        self.rulebook = Rulebook(store, settings.meta.page_bytes, self.tables.keep)


@dataclass
class Following:
    """An agent or a cloud that follows."""

    server: Front
    store: Store
    kubernetes: Source
    router: Rules

    def status(self) -> KubernetesStatus:
        return self.kubernetes.status()

    async def stored(self, kind: str) -> dict[str, KubeObject]:
        return {one.key.name: one for one in await self.store.read(Scope(kind))}

    async def body(self, kind: str, name: str) -> Body:
        found = await self.store.get(ObjectKey(kind, "default", name))
        return dict(found.body) if found else {}

    def seen(self, path: str, name: str) -> Body:
        """An object as the API server has it."""
        return self.server.objects(path).get(("default", name), {})


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something is so."""
    with trio.fail_after(seconds):
        while True:
            found = holds()
            if hasattr(found, "__await__"):
                found = await found
            if found:
                return
            await trio.sleep(0.01)


@asynccontextmanager
async def server_with(*plurals: str) -> AsyncIterator[ApiServer]:
    """An API server that serves these kinds besides its own."""
    async with run_apiserver() as server:
        for plural in plurals:
            server.install_crd(definition_of(plural, status=plural != "rules"))
        server.put("/api/v1/namespaces", {"metadata": {"name": "default"}})
        server.put("/api/v1/namespaces", {"metadata": {"name": "edgemesh"}})
        yield server


@asynccontextmanager
async def following(
    place: Path | str, server: Front, name: str = "cloud-1", *, node: str = "", **changed: Any
) -> AsyncIterator[Following]:
    """Follow a server until the block ends; what was stored in the place is there before.

    Args:
        place: a folder, or the URL of a database.
        server: that is followed.
        name: of the replica.
        node: whose agent follows; a cloud does where there is none.
        changed: settings.
    """
    url = place if isinstance(place, str) else f"sqlite:///{place / 'edgemesh.db'}"
    kubernetes = replace(QUICK, server=server.url, **changed)
    settings = Settings(node=node or "cloud", kubernetes=kubernetes)
    settings = replace(settings, cloud=replace(settings.cloud, name=name))
    async with AsyncExitStack() as stack:
        store = await Store.open(url, settings.meta)
        stack.push_async_callback(store.close)
        nursery = await stack.enter_async_context(trio.open_nursery())
        if store.is_shared:
            await nursery.start(store.follow, 0.2, print)
        follower = Follower(settings)
        feed = Metamanager(store, settings.meta).subscribe_changes()
        router = Rules(store, settings)
        connection: Source = CloudKubernetes(settings, store, follower, router)
        if node:
            connection = KubernetesConnection(settings, store, follower)
        follower.on_snapshot(connection.swap)
        await nursery.start(follower.run, feed)
        await nursery.start(router.rulebook.run)
        await nursery.start(connection.run)
        yield Following(server, store, connection, router)
        nursery.cancel_scope.cancel()
