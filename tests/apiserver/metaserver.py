"""KubeEdge's MetaServer before a cluster: what it does otherwise than an API server.

The numbers in comments are the points of ``captures/README.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import trio

from apiserver.answers import (
    JSON,
    Answer,
    RefusedError,
    Request,
    bad_request,
    failed,
    not_found,
    ok,
    text,
)
from apiserver.defaults import as_kind, key_of
from apiserver.discovery import discovered
from apiserver.faults import Faults
from apiserver.front import Front, Send, Streamed, listening
from apiserver.history import Written
from apiserver.lists import check_limit, listed, parse_error
from apiserver.resources import Body, Key, ResourceType, Target, find_type, parse_path
from apiserver.selection import Wanted, wanted_by
from apiserver.watches import DEFAULT_SECONDS
from apiserver.writes import Media

_OWN_PATHS = {"version", "healthz"}
_MEDIA = Media(
    accepted="application/json, application/yaml",
    malformed=lambda _kind, _body: "Object 'Kind' is missing in 'object has no kind field '",
)
_LOST = "connection lost between EdgeCore and CloudCore"


class _Pushed(NamedTuple):
    """A change that CloudCore sent: the row as it was, and as it is."""

    before: Body | None
    after: Body | None
    told: Body


@dataclass(eq=False)
class _Table:
    """What EdgeCore has stored of one type, and what reached it while watches were open."""

    rows: dict[Key, Body] = field(default_factory=dict)
    pushed: list[_Pushed] = field(default_factory=list)
    fed_to: int = 0
    open_watches: int = 0


@dataclass(eq=False)
class MetaServer(Front):
    """MetaServer of an EdgeCore.

    Attributes:
        connected: whether EdgeCore reaches CloudCore.
        slow_seconds: how long EdgeCore waits for a CloudCore that does not answer.
        informed: group and plural of what CloudCore has an informer of.
        epoch: how many CloudCores were lost so far.
    """

    connected: bool = True
    slow_seconds: float = 10.0
    informed: set[tuple[str, str]] = field(default_factory=set)
    epoch: int = 0
    _tables: defaultdict[tuple[str, str], _Table] = field(
        default_factory=lambda: defaultdict(_Table)
    )
    _loss_noticed: bool = False

    def lose_cloud(self) -> None:
        """CloudCore goes; what it knew of watches goes with it (28)."""
        self.connected = False
        self._loss_noticed = False
        self.informed.clear()
        self.epoch += 1

    def return_cloud(self) -> None:
        """CloudCore is there again."""
        self.connected = True

    def keep_rows(self, path: str, bodies: Iterable[Body]) -> None:
        """Let EdgeCore have stored these objects some time ago."""
        type_, _ = self.found(path)
        for body in bodies:
            self._table(type_).rows[key_of(type_, body)] = body

    async def result(self, request: Request) -> Answer | Streamed:
        _check_accept(request)
        target = parse_path(request.path)
        if target is None:
            return self._discovered(request)
        type_ = find_type(self.types(), target)
        if request.method != "GET":
            return self._written(request, type_, target)
        if request.watches:
            return self._watch(request, type_, target)
        if target.name:
            return self._got(type_ or _guessed(target), target)
        return await self._listed(request, type_, target)

    def _discovered(self, request: Request) -> Answer:
        path = request.path.strip("/")
        if path in {"api", "apis"}:
            # Whatever is accepted, protobuf comes.
            return Answer(200, b"k8s\0" + b"\n" * 56)
        if path not in _OWN_PATHS:
            words = f"request[{request.path}::get] isn't supported"
            details = {"causes": [{"message": words}]}
            raise failed(500, f"Internal error occurred: {words}", "InternalError", details)
        answer = discovered(request.path, self.types())
        if answer is None or not self.connected:
            return text(500, ' "" not found\n')
        return Answer(answer.status, answer.body)

    async def _listed(self, request: Request, type_: ResourceType | None, target: Target) -> Answer:
        query = request.query
        check_limit(query)
        if not self.connected:
            if not self._loss_noticed:
                await trio.sleep(self.slow_seconds)
                self._loss_noticed = True
            return self._local(type_ or _guessed(target), target, query)
        if type_ is None:
            return _sorted(_empty(_guessed(target), target))
        revision = query.get("resourceVersion", "")
        if revision.isdecimal() and int(revision) > self.history.revision:
            self.violations.append(f"blocks CloudCore for 43 s (26): {request.target}")
            await trio.sleep(self.slow_seconds)
            return self._local(type_, target, query)
        if revision and not revision.isdecimal():
            return self._local(type_, target, query)
        try:
            body = await listed(self.history, type_, target, query)
        except RefusedError:
            return self._local(type_, target, query)
        body["items"] = [as_kind(type_, target, item) for item in body["items"]]
        return _sorted(body)

    def _local(self, type_: ResourceType, target: Target, query: Mapping[str, str]) -> Answer:
        wanted = wanted_by(type_, target, query)
        rows = [row for row in self._table(type_).rows.values() if wanted(row)]
        body = _empty(type_, target)
        if rows:
            newest = max(int(row["metadata"]["resourceVersion"]) for row in rows)
            link = f"/{target.group or 'core'}/{target.version}/{target.plural}"
            body["metadata"] = {
                "resourceVersion": str(newest),
                "selfLink": f"{link}/{target.namespace or 'null'}/null",
            }
            body["items"] = [as_kind(type_, target, row) for row in rows]
        return _sorted(body)

    def _got(self, type_: ResourceType, target: Target) -> Answer:
        rows = self._table(type_).rows
        if self.connected:
            found = self.history.objects(type_).get(target.key)
            if found is not None:
                rows[target.key] = found
        else:
            found = rows.get(target.key)
        if found is None:
            raise not_found(type_, target.name)
        return _sorted(as_kind(type_, target, found))

    def _written(self, request: Request, type_: ResourceType | None, target: Target) -> Answer:
        if request.method != "POST" and not target.name:
            raise bad_request("name must be provided")
        if not self.connected:
            raise failed(500, _LOST)
        if type_ is None:
            raise not_found(_guessed(target), target.name)
        answer = self.writer.answer(request, type_, target, _MEDIA)
        if request.method != "DELETE":
            return _sorted(msgspec.json.decode(answer.body), answer.status)
        done = {"metadata": {}, "status": "Success", "details": {"name": target.name}, "code": 200}
        return ok(done)

    def _watch(self, request: Request, type_: ResourceType | None, target: Target) -> Streamed:
        query = request.query
        revision = query.get("resourceVersion", "")
        if revision and not revision.isdecimal():
            raise failed(500, parse_error(revision))
        if "timeoutSeconds" not in query:
            self.violations.append(f"may be deaf without end (28): {request.target}")
        if type_ is None:
            self.violations.append(f"makes CloudCore exit (25): {request.target}")
            self.lose_cloud()
            type_ = _guessed(target)
        return MetaWatch(self, type_, target, query)

    def _table(self, type_: ResourceType) -> _Table:
        return self._tables[type_.group, type_.plural]

    def open_watch(self, type_: ResourceType) -> int:
        """Begin to receive pushes of a type, unless CloudCore is away.

        Returns:
            Which CloudCore it hears; of a later one it hears nothing.
        """
        table = self._table(type_)
        place = (type_.group, type_.plural)
        if self.connected:
            if not table.open_watches:
                # What changed while nobody watched is not pushed later (27).
                table.fed_to = self.history.revision
            if place not in self.informed:
                self.informed.add(place)
                self._push_all(type_, table)
        table.open_watches += 1
        return self.epoch if self.connected else -1

    def close_watch(self, type_: ResourceType) -> None:
        """The watch is over."""
        self._table(type_).open_watches -= 1

    def rows(self, type_: ResourceType) -> list[Body]:
        """What is stored of a type."""
        return list(self._table(type_).rows.values())

    def pushes(self, type_: ResourceType) -> list[_Pushed]:
        """All that was ever pushed of a type, up to now."""
        table = self._table(type_)
        for written in self.history.since(type_, table.fed_to) if self.connected else []:
            table.fed_to = written.revision
            self._push(table, written)
        return table.pushed

    def _push_all(self, type_: ResourceType, table: _Table) -> None:
        """First pushes; of what is not of the core group they lack ``kind`` and are lost (27)."""
        if not type_.group:
            table.rows.update(self.history.objects(type_))

    def _push(self, table: _Table, written: Written) -> None:
        before = table.rows.get(written.key)
        if written.after is not None:
            table.rows[written.key] = written.after
            table.pushed.append(_Pushed(before, written.after, written.after))
        elif written.before is not None:
            table.rows.pop(written.key, None)
            metadata = {**written.before["metadata"], "resourceVersion": str(written.revision)}
            told = {**written.before, "metadata": metadata}
            table.pushed.append(_Pushed(before, None, told))


@dataclass(eq=False)
class MetaWatch:
    """A watch of MetaServer: all local rows, then what is pushed, with no revisions at all."""

    server: MetaServer
    type_: ResourceType
    target: Target
    query: Mapping[str, str]

    async def run(self, send: Send) -> None:
        """Tell rows and pushes until the time is over."""
        with trio.move_on_after(float(self.query.get("timeoutSeconds", 0)) or DEFAULT_SECONDS):
            epoch = self.server.open_watch(self.type_)
            try:
                await self._tell(send, epoch)
            finally:
                self.server.close_watch(self.type_)

    async def _tell(self, send: Send, epoch: int) -> None:
        wanted = wanted_by(self.type_, self.target, self.query)
        told = len(self.server.pushes(self.type_))
        rows = [self._line("ADDED", row) for row in self.server.rows(self.type_) if wanted(row)]
        if rows:
            await send(b"".join(rows))
        while True:
            written = self.server.history.written
            if epoch == self.server.epoch and self.server.connected:
                pushes = self.server.pushes(self.type_)
                lines = [
                    self._line(word, push.told)
                    for push in pushes[told:]
                    if (word := _word(push, wanted))
                ]
                told = len(pushes)
                if lines:
                    await send(b"".join(lines))
            await written.wait()

    def _line(self, word: str, body: Body) -> bytes:
        line = {"type": word, "object": as_kind(self.type_, self.target, body)}
        return msgspec.json.encode(line, order="sorted") + b"\n"


def _word(push: _Pushed, wanted: Wanted) -> str:
    was = push.before is not None and wanted(push.before)
    now = push.after is not None and wanted(push.after)
    if now:
        return "MODIFIED" if was else "ADDED"
    return "DELETED" if was else ""


def _check_accept(request: Request) -> None:
    accepted = request.headers.get("accept", "*/*")
    if not any(media in accepted for media in ("*/*", "application/json", "application/yaml")):
        raise failed(
            406,
            "only the following media types are accepted: application/json, application/yaml",
            "NotAcceptable",
        )


def _guessed(target: Target) -> ResourceType:
    """The type that MetaServer takes for granted behind any path, with the kind it guesses."""
    plural = target.plural
    singular = f"{plural[:-3]}y" if plural.endswith("ies") else plural.removesuffix("s")
    return ResourceType(target.group, (target.version,), plural, singular.capitalize())


def _empty(type_: ResourceType, target: Target) -> Body:
    return {"apiVersion": target.api_version, "items": [], "kind": f"{type_.kind}List"}


def _sorted(body: Body, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(body, order="sorted"), (("Content-Type", JSON),))


@asynccontextmanager
async def run_metaserver(
    *, faults: Faults | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[MetaServer]:
    """A MetaServer on TCP; port 0 is any that is free."""
    server = MetaServer(faults=faults)
    async with listening(server, host, port):
        yield server
