"""The fake API server and MetaServer answer all recorded requests as the real ones did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import trio
from apiserver.client import Heard, ask
from apiserver.front import Front
from apiserver.metaserver import MetaServer
from apiserver.resources import BUILT_IN, Body, find_type, parse_path
from apiserver.server import ApiServer
from kube_captures import Recorded, recorded, steady

TOKEN = "secret"
# What edgemesh never asks for, or what the recording has left out.
NOT_REPLAYED = {
    "accept table": "edgemesh asks for no tables",
    "/openapi/v2 ": "edgemesh asks for no schemas",
    "pod log path": "edgemesh asks for no logs",
    "secrets list": "its body is not in the recording",
    "api groups (truncated by the reader)": "its body is not in the recording",
    "/api": "its body is not in the recording",
}
EXCHANGES = tuple(exchange for exchange in recorded() if exchange.name not in NOT_REPLAYED)
RULES = ("rules", "ruleendpoints")


def of_session(session: str) -> list[Recorded]:
    return [exchange for exchange in EXCHANGES if exchange.session == session]


def listed(exchanges: Iterable[Recorded]) -> Iterator[tuple[str, Body]]:
    """All objects that a session shows, with the path of their type."""
    for exchange in exchanges:
        target = parse_path(exchange.request["path"].partition("?")[0])
        if target is None or exchange.status != 200 or exchange.request["method"] != "GET":
            continue
        type_ = find_type(BUILT_IN, target)
        items = exchange.body.get("items", [exchange.body] if "spec" in exchange.body else [])
        for item in items if type_ is not None else []:
            if not item["metadata"]["name"].startswith("tmp-"):
                group = f"/apis/{target.group}" if target.group else "/api"
                yield f"{group}/{target.version}/{target.plural}", item


def fill(server: Front, exchanges: Iterable[Recorded], revision: int) -> None:
    """Let there be what a session shows, at the revision that it shows."""
    for plural in RULES:
        server.install_crd(plural)
    server.history.revision = 1
    by_age = sorted(listed(exchanges), key=lambda found: _revision(found[1]))
    once = {(path, body["metadata"]["name"]): (path, body) for path, body in by_age}
    for path, body in sorted(once.values(), key=lambda found: _revision(found[1])):
        server.restore(path, body)
    server.history.revision = revision


def _revision(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"])


class Replay:
    """Asks a server what was asked of the real one, and compares."""

    def __init__(self, server: Front) -> None:
        self._server = server
        # Revisions and uids as they were recorded, and as they are here.
        self._here: dict[str, str] = {}

    async def check(self, exchange: Recorded) -> None:
        request = exchange.request
        headers = {
            name: value.replace("<token>", TOKEN) for name, value in request["headers"].items()
        }
        body = request.get("body")
        raw = body.encode() if isinstance(body, str) else self._translated(body)
        began = trio.current_time()
        heard = await ask(
            self._server, request["method"], request["path"], headers=headers, body=raw
        )
        took = trio.current_time() - began
        assert (heard.status, heard.reason) == (exchange.status, exchange.reason), exchange.name
        assert took == pytest.approx(exchange.seconds, abs=0.1), exchange.name
        assert steady_headers(heard.headers) == steady_headers(exchange.headers), exchange.name
        assert self._body(heard) == in_order(steady(exchange.body)), exchange.name
        self._learn(exchange.body, heard)

    def _body(self, heard: Heard) -> Any:
        json = heard.headers["Content-Type"] == "application/json"
        try:
            return in_order(steady(heard.json if json else heard.body.decode()))
        except ValueError:
            return heard.body.decode()

    def _translated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._translated(item) for name, item in value.items()}
        return self._here.get(value, value) if isinstance(value, str) else value

    def _learn(self, body: Any, heard: Heard) -> None:
        if isinstance(body, dict) and "uid" in body.get("metadata", {}):
            for name in ("uid", "resourceVersion", "creationTimestamp"):
                self._here[body["metadata"][name]] = heard.json["metadata"][name]


def steady_headers(headers: dict[str, str]) -> dict[str, str]:
    """Headers without what tells time, ids, or how long a body is."""
    framing = {"Content-Length", "Transfer-Encoding"}
    kept = {name: value for name, value in headers.items() if name not in framing}
    return {
        name: "<uid>" if name.endswith("-Uid") else "<date>" if name == "Date" else value
        for name, value in kept.items()
    }


def in_order(body: Any) -> Any:
    """A list of MetaServer's rows may come in any order."""
    if isinstance(body, dict) and "selfLink" in body.get("metadata", {}):
        return {**body, "items": sorted(body["items"], key=lambda item: item["metadata"]["name"])}
    return body


async def test_api_server_answers_as_recorded(autojump_clock: trio.abc.Clock) -> None:
    server = ApiServer(tokens={TOKEN})
    exchanges = of_session("API server")
    fill(server, exchanges, 274)
    replay = Replay(server)
    for exchange in exchanges:
        await replay.check(exchange)


async def test_api_server_answers_about_the_past_as_recorded(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer(tokens={TOKEN})
    exchanges = of_session("API server 2, 410")
    fill(server, exchanges, 79)
    server.history.revision = 85
    replay = Replay(server)
    for exchange in exchanges:
        await replay.check(exchange)


async def test_api_server_that_forgot_the_past_answers_as_recorded(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer(tokens={TOKEN})
    exchanges = of_session("API server 2, 410, after restart")
    fill(server, [*of_session("API server 2, 410"), *exchanges], 93)
    server.compact()
    server.history.revision = 96
    replay = Replay(server)
    for exchange in exchanges:
        await replay.check(exchange)


async def test_metaserver_answers_as_recorded(autojump_clock: trio.abc.Clock) -> None:
    server = MetaServer()
    exchanges = of_session("MetaServer")
    fill(server, exchanges, 343)
    replay = Replay(server)
    for exchange in exchanges:
        await replay.check(exchange)


async def test_metaserver_answers_other_requests_as_recorded(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    exchanges = of_session("MetaServer, more")
    fill(server, exchanges, 458)
    replay = Replay(server)
    for exchange in exchanges:
        await replay.check(exchange)


async def test_metaserver_without_cloud_and_rows_answers_as_recorded(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    up, *down = of_session("MetaServer, CloudCore outage, nothing cached")
    fill(server, [up], 605)
    replay = Replay(server)
    await replay.check(up)
    server.lose_cloud()
    for exchange in down:
        await replay.check(exchange)


async def test_metaserver_without_cloud_answers_from_its_rows_as_recorded(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    up, got, *down, again = of_session("MetaServer, CloudCore outage")
    fill(server, [up], 665)
    server.keep_rows(
        "/api/v1/services", [body for body in rows_of(down) if body["metadata"]["name"] != "web"]
    )
    replay = Replay(server)
    await replay.check(up)
    await replay.check(got)
    server.lose_cloud()
    for exchange in down:
        await replay.check(exchange)
    server.return_cloud()
    fill(server, [again], 694)
    await replay.check(again)


def rows_of(exchanges: Iterable[Recorded]) -> Iterator[Body]:
    for exchange in exchanges:
        if exchange.name == "cloud down: list services (watched before)":
            yield from exchange.body["items"]
