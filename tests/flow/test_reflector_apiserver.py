"""A reflector before an API server."""

from __future__ import annotations

import itertools

import pytest
import trio
from apiserver.server import ApiServer
from reflector_fixtures import (
    RULES,
    SERVICES,
    URL,
    MemorySink,
    WithoutStreams,
    asked,
    made,
    memory_access,
    reflecting,
    service,
)

from edgemesh.cloud.reflector import Reflector
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Name, Phase

SETTINGS = KubernetesSettings(server=URL)
Patch = pytest.MonkeyPatch
Clock = trio.abc.Clock


async def test_everything_is_listed_and_then_followed(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: sink.names(SERVICES) == {"a"})
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        server.delete(SERVICES.path, "default", "a")
        await sink.until(lambda: sink.names(SERVICES) == {"b"} and reflector.state.changes == 3)
        state = reflector.state
        assert (state.phase, state.synced, state.objects) == (Phase.FOLLOWING, True, 1)
        assert (state.lists, state.changes, state.revision) == (1, 3, str(server.history.revision))
    assert server.violations == []


async def test_whoever_starts_it_goes_on_once_the_first_list_is_in_the_sink(
    monkeypatch: Patch,
    autojump_clock: Clock,
) -> None:
    server, sink = made("a", "b"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        trio.open_nursery() as nursery,
    ):
        reflector = Reflector(access, SERVICES, sink, settings=SETTINGS, chance=lambda: 0.5)
        await nursery.start(reflector.run)
        assert sink.names(SERVICES) == {"a", "b"}
        assert reflector.state.synced
        nursery.cancel_scope.cancel()


async def test_a_list_comes_in_pages_and_reaches_the_sink_in_parts(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    settings = KubernetesSettings(server=URL, page_objects=4, batch_objects=3)
    server, sink = made(*"abcdefghij"), MemorySink()
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings),
    ):
        await sink.until(lambda: ("keep_only", 10) in sink.told)
    assert sink.told == [("change", size) for size in (3, 1, 3, 1, 2)] + [("keep_only", 10)]


async def test_what_was_stored_before_and_is_not_there_any_more_goes(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    sink.objects[SERVICES] = {Name("default", "old"): service("old")}
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS),
    ):
        await sink.until(lambda: sink.names(SERVICES) == {"a"})


async def test_once_the_server_is_known_a_list_is_streamed(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", "b"), MemorySink()
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        await access.request("GET", "/version")
        async with reflecting(access, sink, SETTINGS) as reflector:
            await sink.until(lambda: ("keep_only", 2) in sink.told)
            server.put(SERVICES.path, service("c"))
            await sink.until(lambda: sink.names(SERVICES) == {"a", "b", "c"})
            assert reflector.state.lists == 1
    assert asked(server)[1:] == ["stream"]


async def test_a_server_without_streamed_lists_is_listed(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", server=WithoutStreams()), MemorySink()
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        await access.request("GET", "/version")
        async with reflecting(access, sink, SETTINGS) as reflector:
            await sink.until(lambda: reflector.state.synced)
            assert reflector.state.problem == ""
            await sink.until(lambda: len(server.requests) == 4)
    assert asked(server)[1:] == ["stream", "list", f"watch {server.history.revision}"]


async def test_a_watch_lasts_as_long_as_was_asked_for_and_is_taken_up_without_a_gap(
    monkeypatch: Patch,
    autojump_clock: Clock,
) -> None:
    server, sink = made("a"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await trio.sleep(1000)
        assert reflector.state.restarts == 0
        assert reflector.state.lists == 1
    times = [request.at for request in server.requests if request.watches]
    assert [round(later - sooner) for sooner, later in itertools.pairwise(times)] == [270] * 3


async def test_a_resource_that_is_not_there_is_told_once_and_followed_when_it_comes(
    monkeypatch: Patch,
    autojump_clock: Clock,
) -> None:
    server, sink = ApiServer(), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        trio.open_nursery() as nursery,
    ):
        reflector = Reflector(access, RULES, sink, settings=SETTINGS, chance=lambda: 0.5)
        await nursery.start(reflector.run)
        assert reflector.state.phase is Phase.MISSING
        assert reflector.state.problem == "404: 404 page not found"
        await trio.sleep(200)
        assert sink.told == [("missing", 0)]
        server.install_crd("rules")
        server.put(RULES.path, {"metadata": {"name": "r"}, "spec": {}})
        with trio.fail_after(SETTINGS.missing_seconds + 1):
            await sink.until(lambda: sink.names(RULES) == {"r"})
        nursery.cancel_scope.cancel()


async def test_objects_stay_when_their_resource_is_taken_away_without_a_word(
    monkeypatch: Patch,
    autojump_clock: Clock,
) -> None:
    server, sink = ApiServer(), MemorySink()
    server.install_crd("rules")
    server.put(RULES.path, {"metadata": {"name": "r"}, "spec": {}})
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS, RULES) as reflector,
    ):
        await sink.until(lambda: reflector.state.phase is Phase.FOLLOWING)
        monkeypatch.setattr(server, "types", lambda: iter(()))
        server.end_watches()
        await sink.until(lambda: ("missing", 0) in sink.told)
        assert sink.names(RULES) == {"r"}


async def test_when_it_is_cancelled_no_connection_stays(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        async with reflecting(access, sink, SETTINGS) as reflector:
            await sink.until(lambda: reflector.state.phase is Phase.FOLLOWING)
            await trio.testing.wait_all_tasks_blocked()
            assert len(server.watches) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert server.watches == {}


async def test_a_selector_chooses_and_what_leaves_it_is_gone(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    resource = SERVICES._replace(label_selector="app=web", field_selector="metadata.name=a")
    server, sink = ApiServer(), MemorySink()
    server.put(SERVICES.path, service("a", labels={"app": "web"}))
    server.put(SERVICES.path, service("b", labels={"app": "web"}))
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS, resource),
    ):
        await sink.until(lambda: sink.names(resource) == {"a"})
        server.put(SERVICES.path, service("a", labels={"app": "other"}))
        await sink.until(lambda: sink.names(resource) == set())
