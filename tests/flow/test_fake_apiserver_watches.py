"""The fake API server and MetaServer stream what the recorded watches streamed, as long as they."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio
from apiserver.client import asking
from apiserver.front import Front
from apiserver.metaserver import MetaServer
from apiserver.resources import Body
from apiserver.server import ApiServer
from kube_captures import Line, steady, watched
from kube_captures import recorded as recorded_lists

TOKEN = "secret"
PATHS = {
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
}
# A watch with a selector does not show how an object was changed, only that it left.
SELECTIVE = "svc-label"
BEFORE = "exact old rv after compaction"


class Streams:
    """What was heard on each stream.

    Attributes:
        opened: status and headers.
        lines: JSON values, or text.
        ended_at: seconds since the start; missing where a stream was left open.
    """

    def __init__(self) -> None:
        self.opened: dict[str, tuple[int, dict[str, str]]] = {}
        self.lines: defaultdict[str, list[Any]] = defaultdict(list)
        self.ended_at: dict[str, float] = {}


def told(lines: list[Line]) -> Streams:
    """What the recording heard."""
    streams = Streams()
    for line in lines:
        if "status" in line.told:
            streams.opened[line.stream] = (
                line.told["status"],
                steady_headers(line.told["headers"]),
            )
        elif "line" in line.told or "text" in line.told:
            streams.lines[line.stream].append(line.told.get("line", line.told.get("text")))
        elif "event" in line.told:
            streams.ended_at[line.stream] = line.at
    return streams


async def hear(server: Front, lines: list[Line]) -> Streams:
    """Open the recorded watches at their times and hear what the server tells."""
    streams = Streams()
    began = trio.current_time()

    async def open_one(line: Line) -> None:
        await trio.sleep_until(began + line.at)
        method, target = line.told["request"].split()
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
        async with asking(server, method, target, headers=headers) as head:
            streams.opened[line.stream] = (head.status, steady_headers(head.headers))
            json = head.headers["Content-Type"] == "application/json"
            rest = b""
            async for piece in head.pieces():
                *whole, rest = (rest + piece).split(b"\n")
                streams.lines[line.stream] += [read(text, json=json) for text in whole]
            streams.lines[line.stream] += [read(rest, json=json)] if rest else []
            streams.ended_at[line.stream] = trio.current_time() - began

    with trio.move_on_after(lines[-1].at + 1):
        async with trio.open_nursery() as nursery:
            for line in lines:
                if "request" in line.told:
                    nursery.start_soon(open_one, line)
    return streams


def read(line: bytes, *, json: bool) -> Any:
    return msgspec.json.decode(line) if json else f"{line.decode()}\n"


def steady_headers(headers: dict[str, str]) -> dict[str, str]:
    return {name: "<varies>" if "-Uid" in name else value for name, value in headers.items()} | {
        "Date": "<date>",
        "Content-Length": "<length>" if "Content-Length" in headers else "",
    }


def compare(heard: Streams, recorded: Streams, names: Iterator[str] | list[str]) -> None:
    for name in names:
        assert heard.opened[name] == recorded.opened[name], name
        assert shown(heard.lines[name]) == shown(recorded.lines[name]), name
        ended = recorded.ended_at.get(name)
        assert heard.ended_at.get(name) == (ended and pytest.approx(ended, abs=0.2)), name


def shown(lines: list[Any]) -> list[Any]:
    """Lines without what differs; of bookmarks that follow each other only that they do."""
    result: list[Any] = []
    for line in map(steady, lines):
        if not (result and line == result[-1] and line["type"] == "BOOKMARK"):
            result.append(line)
    return result


async def play(server: Front, lines: list[Line]) -> None:
    """Do at its time each change that some stream tells."""
    began = trio.current_time()
    for at, word, body in changes(lines):
        await trio.sleep_until(began + at)
        server.history.revision = int(body["metadata"]["resourceVersion"]) - 1
        path = PATHS[body["kind"]]
        metadata = body["metadata"]
        if word == "DELETED":
            server.delete(path, metadata["namespace"], metadata["name"])
        else:
            server.restore(path, body)


def changes(lines: list[Line]) -> list[tuple[float, str, Body]]:
    """Each recorded change once, with the time at which it was first told."""
    found: dict[tuple[str, int], tuple[float, str, Body]] = {}
    for line in lines:
        event = line.told.get("line", {})
        if line.stream == SELECTIVE or event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
            continue
        body = event["object"]
        key = body["kind"], int(body["metadata"]["resourceVersion"])
        found.setdefault(key, (line.at, event["type"], body))
    return [found[key] for key in sorted(found, key=lambda key: key[1])]


def session(name: str, *streams: str) -> list[Line]:
    return [line for line in watched(name) if not streams or line.stream in streams]


async def heard_while_played(server: Front, lines: list[Line], after: int) -> Streams:
    """Let there be what was before a revision, then replay what came after."""
    async with trio.open_nursery() as nursery:
        before = [change for change in changes(lines) if _revision(change) <= after]
        for _, word, body in before:
            path = PATHS[body["kind"]]
            if word == "DELETED":
                server.history.revision = int(body["metadata"]["resourceVersion"]) - 1
                server.delete(path, body["metadata"]["namespace"], body["metadata"]["name"])
            else:
                server.restore(path, body)
        server.history.revision = after
        later = [line for line in lines if _after(line, after)]
        nursery.start_soon(play, server, later)
        streams = await hear(server, lines)
        nursery.cancel_scope.cancel()
    return streams


def _revision(change: tuple[float, str, Body]) -> int:
    return _age(change[2])


def _age(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"])


def _after(line: Line, revision: int) -> bool:
    body = line.told.get("line", {}).get("object", {})
    return int(body.get("metadata", {}).get("resourceVersion", 0)) > revision


async def test_api_server_streams_as_recorded(autojump_clock: trio.abc.Clock) -> None:
    server = ApiServer(tokens={TOKEN})
    server.install_crd("rules")
    server.history.revision = 1
    lines = session("API server")
    heard = await heard_while_played(server, lines, 286)
    recorded = told(lines)
    compare(heard, recorded, list(recorded.opened))


async def test_api_server_that_still_holds_an_old_revision_resumes_from_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer(tokens={TOKEN})
    (before,) = [exchange for exchange in recorded_lists() if exchange.name == BEFORE]
    for body in sorted(before.body["items"], key=_age):
        server.restore(PATHS["Service"], body)
    lines = session("API server 2, 410")
    heard = await heard_while_played(server, lines, 85)
    recorded = told(lines)
    compare(heard, recorded, list(recorded.opened))


async def test_api_server_that_forgot_tells_410_in_the_stream(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer(tokens={TOKEN})
    server.history.revision = 1
    lines = session("API server 2, 410, after restart")
    for _, _, body in changes(lines):
        server.restore(PATHS[body["kind"]], body)
    server.history.revision = 93
    server.compact()
    heard = await hear(server, lines)
    recorded = told(lines)
    compare(heard, recorded, list(recorded.opened))
    expired = heard.lines["old rv (410)"][0]["object"]
    assert expired["message"] == "too old resource version: 79 (93)"


async def test_metaserver_streams_as_recorded(autojump_clock: trio.abc.Clock) -> None:
    server = MetaServer()
    server.install_crd("rules")
    server.history.revision = 1
    lines = session("MetaServer")
    rows = [body for at, _, body in changes(lines) if at < 1]
    server.informed |= {("", "services"), ("discovery.k8s.io", "endpointslices")}
    server.keep_rows(PATHS["Service"], rows)
    server.history.revision = 471
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, server, [line for line in lines if line.at > 1])
        heard = await hear(server, lines)
    recorded = told(lines)
    for name in recorded.opened:
        first = [line for line in recorded.lines[name] if _is_row(line, rows)]
        begun = heard.lines[name][: len(first)]
        assert sorted(map(_name, begun)) == sorted(map(_name, first)), name
        recorded.lines[name][: len(first)] = begun
    compare(heard, recorded, list(recorded.opened))


async def test_metaserver_streams_its_rows_while_the_cloud_is_away(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    lines = session("MetaServer, CloudCore outage")
    rows = {
        _name(line.told["line"]): line.told["line"]["object"]
        for line in lines
        if "line" in line.told
    }
    server.keep_rows(PATHS["Service"], rows.values())
    server.lose_cloud()
    heard = await hear(server, lines)
    recorded = told(lines)
    streams = [name for name in recorded.opened if name.startswith("cloud down")]
    compare(heard, recorded, streams)


async def test_metaserver_watch_is_deaf_after_the_cloud_returned(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    names = []
    target = "/api/v1/services?watch=true&timeoutSeconds=60"
    async with asking(server, "GET", target) as head, trio.open_nursery() as nursery:

        async def change() -> None:
            await trio.sleep(1)
            server.put(PATHS["Service"], {"metadata": {"name": "heard"}})
            await trio.sleep(1)
            server.lose_cloud()
            server.return_cloud()
            server.put(PATHS["Service"], {"metadata": {"name": "unheard"}})

        nursery.start_soon(change)
        names = [_name(msgspec.json.decode(line)) async for line in head.lines()]
    assert names == ["heard"]


def _is_row(line: Any, rows: list[Body]) -> bool:
    return line.get("type") == "ADDED" and line["object"] in rows


def _name(line: Any) -> str:
    return str(line["object"]["metadata"]["name"])
