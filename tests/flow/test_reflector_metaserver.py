"""A reflector before KubeEdge's MetaServer; the points are those of the recordings' README."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from apiserver.metaserver import MetaServer
from reflector_fixtures import (
    RULES,
    SERVICES,
    SLICES,
    URL,
    MemorySink,
    asked,
    memory_access,
    reflecting,
    service,
)

from edgemesh.cloud.reflector import Reflector
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Phase, Resource

SETTINGS = KubernetesSettings(server=URL)
# Of a watch, its spread by lot, and a list.
ROUND_SECONDS = SETTINGS.metaserver_seconds + 1
Patch = pytest.MonkeyPatch
Clock = trio.abc.Clock


def made(*names: str) -> MetaServer:
    server = MetaServer()
    for name in names:
        server.put(SERVICES.path, service(name))
    return server


async def test_it_is_listed_and_watched_in_turn_and_a_list_is_never_streamed(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await trio.sleep(4 * ROUND_SECONDS)
        assert reflector.state.synced
        assert reflector.state.restarts == 0
    revision = server.history.revision
    assert asked(server)[:6] == ["list", f"watch {revision}"] * 3
    # What is known is not handed on again, list after list.
    assert sink.told == [("change", 1), ("keep_only", 1)]
    assert server.violations == []


async def test_a_change_that_is_watched_arrives_at_once(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced and bool(server.watches))
        began = trio.current_time()
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        assert trio.current_time() - began < 1


async def test_rows_of_the_past_that_a_watch_begins_with_change_nothing(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", "b"), MemorySink()
    table = server._table(server.found(SERVICES.path)[0])
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced and bool(server.watches))
        # As with tmp-meta: a row that was deleted long ago, and one that is old.
        table.rows = {key: dict(body) for key, body in server.objects(SERVICES.path).items()}
        server.end_watches()
        server.delete(SERVICES.path, "default", "a")
        server.put(SERVICES.path, service("b", labels={"new": "yes"}))
        await sink.until(lambda: sink.names(SERVICES) == {"b"})
        await trio.sleep(3 * ROUND_SECONDS)
        ((_, body),) = sink.objects[SERVICES].items()
        assert body["metadata"]["labels"] == {"new": "yes"}
        assert sink.names(SERVICES) == {"b"}


async def test_a_resource_that_the_cluster_lacks_is_never_watched(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    # Point 25: CloudCore would exit.
    server, sink = made(), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        trio.open_nursery() as nursery,
    ):
        reflector = Reflector(access, RULES, sink, settings=SETTINGS, chance=lambda: 0.5)
        await nursery.start(reflector.run)
        assert reflector.state.phase is Phase.UNKNOWN
        await trio.sleep(10 * ROUND_SECONDS)
        assert set(asked(server)) == {"list"}
        assert sink.told == []
        server.install_crd("rules")
        server.put(RULES.path, {"metadata": {"name": "r"}, "spec": {}})
        await sink.until(lambda: sink.names(RULES) == {"r"})
        nursery.cancel_scope.cancel()
    assert server.violations == []


async def test_an_empty_list_while_its_cloud_is_away_takes_nothing_away(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    # Point 29; the first such list takes 10 seconds.
    server, sink = made("a"), MemorySink()
    server.put(SLICES.path, {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []})
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS, SLICES) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced)
        server.lose_cloud()
        await sink.until(lambda: reflector.state.phase is Phase.UNKNOWN)
        assert not reflector.state.synced
        await trio.sleep(10 * ROUND_SECONDS)
        assert sink.names(SLICES) == {"s"}
        server.return_cloud()
        server.delete(SLICES.path, "default", "s")
        await sink.until(lambda: sink.names(SLICES) == set())
        assert server.violations == []


async def test_local_rows_while_its_cloud_is_away_are_no_list(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", "b"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced and bool(server.watches))
        server.lose_cloud()
        del server._table(server.found(SERVICES.path)[0]).rows["default", "a"]
        await sink.until(lambda: reflector.state.phase is Phase.UNKNOWN)
        assert sink.names(SERVICES) == {"a", "b"}


async def test_a_watch_that_went_deaf_is_found_out_by_the_next_list(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    # Point 28: the stream stays open when CloudCore comes back, and nothing arrives on it.
    server, sink = made("a"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced and bool(server.watches))
        server.lose_cloud()
        server.return_cloud()
        server.put(SERVICES.path, service("b"))
        began = trio.current_time()
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        assert trio.current_time() - began <= ROUND_SECONDS


async def test_pods_of_other_nodes_among_its_rows_are_passed_over(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    pods = Resource("Pod", "/api/v1/pods", field_selector="spec.nodeName=here")

    def pod(name: str, node: str) -> dict[str, Any]:
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
        return {"metadata": {"name": name}, "spec": spec}

    server, sink = made(), MemorySink()
    server.put(pods.path, pod("mine", "here"))
    server.put(pods.path, pod("other", "there"))
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS, pods) as reflector,
    ):
        await sink.until(lambda: reflector.state.synced and bool(server.watches))
        server.put(pods.path, pod("third", "there"))
        server.put(pods.path, pod("fourth", "here"))
        await sink.until(lambda: sink.names(pods) == {"mine", "fourth"})
        await trio.sleep(2 * ROUND_SECONDS)
        assert sink.names(pods) == {"mine", "fourth"}
