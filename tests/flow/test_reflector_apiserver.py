"""A reflector before an API server."""

from __future__ import annotations

import pytest
import trio
from apiserver.server import ApiServer
from reflector_fixtures import SERVICES, URL, MemorySink, memory_access, reflecting

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Phase

SETTINGS = KubernetesSettings(server=URL)


def service(name: str, port: int = 80) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": port}]}}


async def test_everything_is_listed_and_then_followed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    server, sink = ApiServer(), MemorySink()
    server.put(SERVICES.path, service("a"))
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: sink.names(SERVICES) == {"a"})
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        server.delete(SERVICES.path, "default", "a")
        await sink.until(lambda: sink.names(SERVICES) == {"b"})
        assert reflector.state.phase is Phase.FOLLOWING
    assert not server.violations
