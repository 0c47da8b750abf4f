"""A reflector and a server, joined in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import httpx2
import pytest
import trio
import trio.testing
from apiserver.answers import Answer, Request, invalid
from apiserver.front import Front, Streamed
from apiserver.server import ApiServer

from edgemesh.cloud import access as access_module
from edgemesh.cloud.access import Access
from edgemesh.cloud.identity import Identity, read_identity
from edgemesh.cloud.reflector import Reflector
from edgemesh.cloud.transport import Transport
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Change, Name, Resource
from edgemesh.policy.reflector.known import name_of

SERVICES = Resource("Service", "/api/v1/services")
SLICES = Resource("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices")
RULES = Resource("Rule", "/apis/rules.kubeedge.io/v1/rules")
URL = "http://server"
_LOOK_SECONDS = 1.0


def service(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"ports": [{"port": 80}]}}


def made(*names: str, server: ApiServer | None = None) -> ApiServer:
    server = server or ApiServer()
    for name in names:
        server.put(SERVICES.path, service(name))
    return server


def asked(server: Front) -> list[str]:
    """In which way each request asked."""
    return [
        "stream"
        if "sendInitialEvents" in request.query
        else f"watch {request.query['resourceVersion']}"
        if request.watches
        else "list"
        for request in server.requests
    ]


class WithoutStreams(ApiServer):
    """An API server that has no streamed lists, as before Kubernetes 1.27."""

    async def result(self, request: Request) -> Answer | Streamed:
        if "sendInitialEvents" in request.query:
            words = "sendInitialEvents is forbidden for watch"
            raise invalid("ListOptions", "", "meta.k8s.io", [("Forbidden", "x", words)])
        return await super().result(request)


class MemorySink:
    """Keeps objects as a store would.

    Attributes:
        objects: of each resource by name.
        told: every call, in short.
    """

    def __init__(self) -> None:
        self.objects: dict[Resource, dict[Name, Any]] = {}
        self.told: list[tuple[str, int]] = []
        self._changed = trio.Event()

    async def change(self, resource: Resource, changes: Sequence[Change]) -> None:
        assert changes
        objects = self.objects.setdefault(resource, {})
        for change in changes:
            if change.deleted:
                del objects[name_of(change.body)]
            else:
                objects[name_of(change.body)] = change.body
        await self._tell("change", len(changes))

    async def keep_only(self, resource: Resource, names: Collection[Name]) -> None:
        objects = self.objects.setdefault(resource, {})
        for name in set(objects) - set(names):
            del objects[name]
        await self._tell("keep_only", len(names))

    async def missing(self, resource: Resource) -> None:  # noqa: ARG002
        await self._tell("missing", 0)

    def names(self, resource: Resource) -> set[str]:
        """What there is, without namespaces."""
        return {name.name for name in self.objects.get(resource, ())}

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; what this sink hears of it is looked at at once."""
        while not is_so():
            with trio.move_on_after(_LOOK_SECONDS):
                await self._changed.wait()

    async def _tell(self, call: str, count: int) -> None:
        self.told.append((call, count))
        self._changed.set()
        self._changed = trio.Event()
        await trio.lowlevel.checkpoint()


class _MemoryStream(httpcore2.AsyncNetworkStream):
    """One connection, as the HTTP client wants it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                return bytes(await self._stream.receive_some(max_bytes))
        except trio.TooSlowError as error:
            raise httpcore2.ReadTimeout from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002
        return None


class _MemoryBackend(httpcore2.AsyncNetworkBackend):
    """Connects to a server in the same process."""

    def __init__(self, server: Front, nursery: trio.Nursery) -> None:
        self._server = server
        self._nursery = nursery

    async def connect_tcp(self, *_args: Any, **_options: Any) -> httpcore2.AsyncNetworkStream:
        near, far = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._server.serve, far)
        await trio.lowlevel.checkpoint()
        return _MemoryStream(near)


@asynccontextmanager
async def memory_access(
    server: Front, settings: KubernetesSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Access]:
    """The way to a server in this process."""
    async with trio.open_nursery() as nursery:

        def new_client(identity: Identity) -> httpx2.AsyncClient:
            transport = Transport(identity, _MemoryBackend(server, nursery))
            return httpx2.AsyncClient(
                base_url=identity.url,
                auth=identity.auth,
                headers=access_module._HEADERS,
                transport=transport,
            )

        monkeypatch.setattr(access_module, "_new_client", new_client)
        access = Access(settings, read_identity(settings))
        yield access
        await access.close()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def reflecting(
    access: Access,
    sink: MemorySink,
    settings: KubernetesSettings,
    resource: Resource = SERVICES,
    chance: Callable[[], float] = lambda: 0.5,
) -> AsyncIterator[Reflector]:
    """A reflector that runs, before it has been answered."""
    reflector = Reflector(access, resource, sink, settings=settings, chance=chance)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reflector.run)
        yield reflector
        nursery.cancel_scope.cancel()
