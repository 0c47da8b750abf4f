"""Watches: from where they start, what they tell, and when they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf

import msgspec
import trio

from apiserver.answers import failed, invalid, status_body
from apiserver.defaults import as_kind
from apiserver.history import History, TooOldError, Written
from apiserver.lists import parse_error
from apiserver.resources import Body, ResourceType, Target
from apiserver.selection import Wanted, wanted_by

Send = Callable[[bytes], Awaitable[None]]

DEFAULT_SECONDS = 1800.0
"""How long a watch lasts that does not say; the API server draws 1,800 to 3,600 s."""
_LAST_BOOKMARK_SECONDS = 2.0
END_OF_INITIAL = "k8s.io/initial-events-end"
_STUBS: Mapping[str, Body] = {
    "Service": {"spec": {}, "status": {"loadBalancer": {}}},
    "EndpointSlice": {"addressType": "", "endpoints": None, "ports": None},
    "Pod": {"spec": {"containers": None}, "status": {}},
    "Namespace": {"spec": {}, "status": {}},
}


@dataclass(eq=False)
class Watch:
    """One watch that was accepted.

    Attributes:
        seconds: after which it ends.
        bookmark_every: seconds between bookmarks.
        expires: whether it tells at once that its resourceVersion is too old.
    """

    history: History
    type_: ResourceType
    target: Target
    query: Mapping[str, str]
    seconds: float
    bookmark_every: float
    wanted: Wanted
    revision: int
    initial: bool
    expires: bool = False

    async def run(self, send: Send) -> None:
        """Tell what changes until the watch ends."""
        with trio.move_on_after(self.seconds):
            try:
                await self._tell(send)
            except TooOldError:
                await send(self._too_old())
                return
            await trio.sleep_forever()

    async def _tell(self, send: Send) -> None:
        if self.expires:
            raise TooOldError
        if self.initial:
            await self._tell_all(send)
        else:
            self.history.check(self.type_, self.revision)
        last = trio.current_time() + self.seconds - _LAST_BOOKMARK_SECONDS
        bookmark_at = trio.current_time() + self.bookmark_every
        while True:
            written = self.history.written
            await self._tell_new(send)
            with trio.move_on_at(min(bookmark_at, last)) as waiting:
                await written.wait()
            if waiting.cancelled_caught:
                await self._bookmark(send)
                bookmark_at = trio.current_time() + self.bookmark_every
                last = last if trio.current_time() < last else inf

    async def _tell_new(self, send: Send) -> None:
        lines = []
        for written in self.history.since(self.type_, self.revision):
            self.revision = written.revision
            lines.append(self._line(written))
        if told := b"".join(lines):
            await send(told)

    async def _tell_all(self, send: Send) -> None:
        self.revision = self.history.revision
        revision = self.revision
        rows = sorted(self.history.objects(self.type_).items())
        if lines := [self.line("ADDED", body) for _, body in rows if self.wanted(body)]:
            await send(b"".join(lines))
        if self.query.get("sendInitialEvents") == "true" and self._bookmarked:
            await send(self._bookmark_line(revision, {END_OF_INITIAL: "true"}))

    async def _bookmark(self, send: Send) -> None:
        # As the watch cache: before it saw an event itself it knows no revision to tell.
        if self._bookmarked and self.history.stirred(self.type_):
            # No event that this watch tells later is older, also of those that come meanwhile.
            now = self.history.revision
            await self._tell_new(send)
            self.revision = max(self.revision, now)
            await send(self._bookmark_line(self.revision, {}))

    @property
    def _bookmarked(self) -> bool:
        return self.query.get("allowWatchBookmarks") in {"1", "true"}

    def _line(self, written: Written) -> bytes:
        was = written.before is not None and self.wanted(written.before)
        now = written.after is not None and self.wanted(written.after)
        if now and written.after is not None:
            return self.line("MODIFIED" if was else "ADDED", written.after)
        if was and written.before is not None:
            # As the watch cache does: the object as it was, with the revision of what ended it.
            metadata = {**written.before["metadata"], "resourceVersion": str(written.revision)}
            return self.line("DELETED", {**written.before, "metadata": metadata})
        return b""

    def line(self, type_: str, body: Body) -> bytes:
        told = as_kind(self.type_, self.target, body)
        return msgspec.json.encode({"type": type_, "object": told}) + b"\n"

    def _bookmark_line(self, revision: int, annotations: Mapping[str, str]) -> bytes:
        metadata: Body = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        return self.line("BOOKMARK", {"metadata": metadata, **_STUBS.get(self.type_.kind, {})})

    def _too_old(self) -> bytes:
        floor = self.history.floor(self.type_)
        status = status_body(410, f"too old resource version: {self.revision} ({floor})", "Expired")
        return msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n"


def accept_watch(
    history: History,
    type_: ResourceType,
    target: Target,
    query: Mapping[str, str],
    *,
    bookmark_every: float,
) -> Watch:
    """Check what a watch asks for.

    Raises:
        RefusedError: it contradicts itself, or its resourceVersion is no number.
    """
    asked = query.get("resourceVersion", "")
    if asked and not asked.isdecimal():
        raise failed(500, parse_error(asked))
    _check_initial_events(query)
    initial = asked in {"", "0"} or query.get("sendInitialEvents") == "true"
    return Watch(
        history,
        type_,
        target,
        query,
        seconds=float(query.get("timeoutSeconds", 0)) or DEFAULT_SECONDS,
        bookmark_every=bookmark_every,
        wanted=wanted_by(type_, target, query),
        revision=int(asked or 0),
        initial=initial,
    )


def _check_initial_events(query: Mapping[str, str]) -> None:
    match = query.get("resourceVersionMatch", "")
    if "sendInitialEvents" in query and match != "NotOlderThan":
        words = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    elif match and "sendInitialEvents" not in query:
        words = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    else:
        return
    cause = ("FieldValueForbidden", "resourceVersionMatch", f"Forbidden: {words}")
    raise invalid("ListOptions", "", "meta.k8s.io", [cause])
