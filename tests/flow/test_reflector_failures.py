"""A reflector before an API server that fails, in every way there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from apiserver.answers import Answer, Request, text
from apiserver.faults import Fault, Lot
from apiserver.front import Streamed
from apiserver.server import ApiServer
from reflector_fixtures import (
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

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Change, Name, Phase, Resource

SETTINGS = KubernetesSettings(server=URL)
Patch = pytest.MonkeyPatch
Clock = trio.abc.Clock


class Drawn:
    """Faults that a test names, one for each request, and none after them."""

    def __init__(self, *lots: Lot | None) -> None:
        self._lots = list(lots)

    def draw(self, _request: Request) -> Lot | None:
        return self._lots.pop(0) if self._lots else None


class Endless(ApiServer):
    """An API server that does not know how to mark the end of a streamed list."""

    async def result(self, request: Request) -> Answer | Streamed:
        target = request.target.replace("allowWatchBookmarks", "ignored")
        return await super().result(replace(request, target=target))


async def test_a_streamed_list_that_never_ends_is_given_up(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", server=Endless()), MemorySink()
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        await access.request("GET", "/version")
        began = trio.current_time()
        async with reflecting(access, sink, SETTINGS):
            await sink.until(lambda: ("keep_only", 1) in sink.told)
        assert trio.current_time() - began <= SETTINGS.silence_seconds + 1


async def test_deletions_that_nobody_told_of_are_found_after_a_410(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", "b"), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.phase is Phase.FOLLOWING)
        server.end_watches()
        server.delete(SERVICES.path, "default", "a")
        server.put(SERVICES.path, service("c"))
        server.compact()
        await sink.until(lambda: sink.names(SERVICES) == {"b", "c"})
        assert reflector.state.restarts == 1
    assert asked(server)[-1] == "stream"


async def test_a_page_that_cannot_be_had_any_more_calls_for_the_list_in_one_piece(
    monkeypatch: Patch,
    autojump_clock: Clock,
) -> None:
    settings = KubernetesSettings(server=URL, page_objects=2)
    server, sink = made(*"abcde"), MemorySink()
    server.faults = Drawn(None, Lot(Fault.EXPIRED, 0, 0))  # type: ignore[assignment]
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings),
    ):
        await sink.until(lambda: sink.names(SERVICES) == set("abcde"))
    limits = [request.query.get("limit") for request in server.requests[:3]]
    assert limits == ["2", "2", None]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.HALF_OPEN])
async def test_a_watch_that_breaks_is_taken_up_where_it_was(
    fault: Fault, monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    # Of the watch 500 bytes come: in the middle of an event's line.
    server.faults = Drawn(None, Lot(fault, 500, 0))  # type: ignore[assignment]
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await sink.until(lambda: reflector.state.phase is Phase.FOLLOWING)
        revision = reflector.state.revision
        began = trio.current_time()
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        assert trio.current_time() - began <= SETTINGS.silence_seconds + 1
        assert reflector.state.restarts == 1
    assert asked(server) == ["list", f"watch {revision}", f"watch {revision}"]


async def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    class Busy(ApiServer):
        async def result(self, request: Request) -> Answer | Streamed:
            if len(self.requests) < 3:
                return text(429, "Too many requests\n", ("Retry-After", "17"))
            return await super().result(request)

    server, sink = made("a", server=Busy()), MemorySink()
    async with (
        memory_access(server, SETTINGS, monkeypatch) as access,
        reflecting(access, sink, SETTINGS) as reflector,
    ):
        await trio.sleep(1)
        assert reflector.state.phase is Phase.FAILING
        assert reflector.state.problem == "429: Too many requests"
        await sink.until(lambda: reflector.state.synced)
        assert sink.names(SERVICES) == {"a"}
        assert reflector.state.problem == ""
    assert [round(request.at) for request in server.requests[:3]] == [0, 17, 34]


class Saying(ApiServer):
    """Says something of its own to one watch.

    Attributes:
        said: bytes that are a watch's whole answer.
    """

    said: bytes = b""

    async def result(self, request: Request) -> Answer | Streamed:
        if request.watches and self.said:
            said, self.said = self.said, b""
            return Answer(200, said)
        return await super().result(request)


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON\n",
        b'{"type":"MOVED","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{}}}\n',
        b'{"type":"BOOKMARK","object":{}}\n',
        b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}\n',
        b"x" * 3000 + b"\n",
        b"\n\n",
    ],
)
async def test_what_cannot_be_read_ends_a_watch_and_nothing_else(
    said: bytes, monkeypatch: Patch, autojump_clock: Clock
) -> None:
    settings = KubernetesSettings(server=URL, max_line_bytes=2000)
    server, sink = made("a", server=Saying()), MemorySink()
    assert isinstance(server, Saying)
    server.said = said
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings),
    ):
        await sink.until(lambda: sink.names(SERVICES) == {"a"})
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
    assert server.said == b""


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    settings = KubernetesSettings(server=URL, max_list_bytes=1000)
    server, sink = made(*"abcdefgh", server=WithoutStreams()), MemorySink()
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings) as reflector,
    ):
        await trio.sleep(5)
        assert reflector.state.problem == "the answer has more than 1000 bytes"
    assert sink.told == []


async def test_a_server_that_is_not_there_is_tried_until_it_is(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a"), MemorySink()
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        reached: list[float] = []

        async def refuse(stream: trio.abc.Stream) -> None:
            reached.append(trio.current_time())
            await stream.aclose()

        serve: Callable[[trio.abc.Stream], Any] = server.serve
        monkeypatch.setattr(server, "serve", refuse)
        async with reflecting(access, sink, SETTINGS) as reflector:
            await trio.sleep(120)
            assert reflector.state.phase is Phase.FAILING
            assert 5 < len(reached) < 15
            monkeypatch.setattr(server, "serve", serve)
            await sink.until(lambda: sink.names(SERVICES) == {"a"})


async def test_events_wait_at_the_server_while_the_sink_is_busy(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    class Busy(MemorySink):
        free = trio.Event()

        async def change(self, resource: Resource, changes: Sequence[Change]) -> None:
            if self.told:
                await self.free.wait()
            await super().change(resource, changes)

    settings = KubernetesSettings(server=URL, batch_objects=5)
    server, sink = made("a"), Busy()
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings),
    ):
        await sink.until(lambda: ("keep_only", 1) in sink.told)
        for number in range(100):
            server.put(SERVICES.path, service(f"s{number}"))
            await trio.testing.wait_all_tasks_blocked()
        assert len(sink.names(SERVICES)) == 1
        sink.free.set()
        await sink.until(lambda: len(sink.names(SERVICES)) == 101)
    sizes = [size for call, size in sink.told if call == "change"]
    assert max(sizes) == 5


async def test_a_token_that_was_renewed_is_read_again(
    monkeypatch: Patch, autojump_clock: Clock, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    settings = KubernetesSettings(server=URL, token_file=str(token))
    server, sink = made("a"), MemorySink()
    server.tokens = {"first"}
    async with (
        memory_access(server, settings, monkeypatch) as access,
        reflecting(access, sink, settings) as reflector,
    ):
        await sink.until(lambda: reflector.state.phase is Phase.FOLLOWING)
        token.write_text("second\n")
        server.tokens = {"second"}
        server.end_watches()
        server.put(SERVICES.path, service("b"))
        await sink.until(lambda: sink.names(SERVICES) == {"a", "b"})
        assert reflector.state.restarts == 0
        # Only now is it somebody else's.
        server.tokens = {"third"}
        server.end_watches()
        await trio.sleep(20)
        assert reflector.state.problem == "401 Unauthorized: Unauthorized"


async def test_a_streamed_list_that_ends_before_its_mark_takes_nothing_away(
    monkeypatch: Patch, autojump_clock: Clock
) -> None:
    server, sink = made("a", "b", server=Saying()), MemorySink()
    assert isinstance(server, Saying)
    sink.objects[SERVICES] = {Name("default", "b"): service("b")}
    body = service("a", namespace="default", resourceVersion="5")
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    lines = [{"type": "ADDED", "object": body}, bookmark]
    server.said = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    async with memory_access(server, SETTINGS, monkeypatch) as access:
        await access.request("GET", "/version")
        async with reflecting(access, sink, SETTINGS) as reflector:
            await sink.until(lambda: ("change", 1) in sink.told)
            assert not reflector.state.synced
            assert sink.names(SERVICES) == {"a", "b"}
            await sink.until(lambda: reflector.state.synced)
            assert sink.told[-1] == ("keep_only", 2)
    assert asked(server)[1:] == ["stream", "stream"]
