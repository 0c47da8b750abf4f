"""A metamanager over a real store and a real socket, and objects to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from edgemesh.meta.client import Client, connect
from edgemesh.meta.server import Metamanager
from edgemesh.model.settings import MetaSettings
from edgemesh.store.store import Store
from edgemesh.wire.message import Operation

Body = dict[str, Any]


@dataclass
class Served:
    """A metamanager that is being served."""

    path: Path
    settings: MetaSettings
    store: Store
    manager: Metamanager

    def connect(self) -> AbstractAsyncContextManager[Client]:
        return connect(self.path, self.settings)

    async def update(self, *bodies: Body) -> list[str]:
        """Apply objects in one transaction; return what became of each."""
        async with self.connect() as client:
            results = await client.request(Operation.UPDATE, "all/all", list(bodies))
        return [result["result"] for result in results]

    async def delete(self, resource: str) -> None:
        async with self.connect() as client:
            await client.request(Operation.DELETE, resource)

    async def query(self, resource: str, selector: str = "") -> Any:
        async with self.connect() as client:
            return await client.request(Operation.QUERY, resource, {"labelSelector": selector})

    async def names(self, resource: str, selector: str = "") -> list[str]:
        return [body["metadata"]["name"] for body in await self.query(resource, selector)]


@asynccontextmanager
async def served(directory: Path, settings: MetaSettings | None = None) -> AsyncIterator[Served]:
    """Serve a metamanager in a directory until the block ends."""
    settings = settings or MetaSettings()
    store = await Store.open(f"sqlite:///{directory / 'edgemesh.db'}", settings)
    try:
        async with trio.open_nursery() as nursery:
            manager = Metamanager(store, settings)
            path = directory / "meta.sock"
            await nursery.start(manager.serve, path)
            yield Served(path, settings, store, manager)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


def config_map(name: str, namespace: str = "default", **data: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def service(name: str, namespace: str = "default", **spec: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def pod(name: str, address: str, namespace: str = "default", **labels: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "edge-1", "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def endpoint_slice(name: str, of_service: str, *addresses: str) -> Body:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": of_service},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }
