"""The cluster's Services, Pods and policies at a CloudCore, which tells of none of them by itself.

CloudCore (since v1.8) pushes a node its own Node and Pods only; for everything else there is
MetaServer's protocol, Applications. Its watches lose what happens while CloudCore is away, and
one for a kind that the cluster lacks makes CloudCore exit (captures, points 25 to 28). So this
lists, again and again, and hands on what has changed since, as if it had been pushed. What is
pushed while it lists is newer than the list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import starmap
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import trio

from edgemesh.bus.edgehub.messages import SYNC
from edgemesh.bus.edgehub.problems import NoAnswerError
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.kinds import Kind, find_kind
from edgemesh.wire.kubeedge.answers import push, tombstone
from edgemesh.wire.kubeedge.application import (
    AppKey,
    Status,
    Verb,
    ask,
    new_application,
    read_application,
)
from edgemesh.wire.message import (
    NO_NAMESPACE,
    Group,
    Message,
    MessageError,
    Operation,
    ResourcePath,
    new_message,
)

# What the data plane goes by; Endpoints are not, for their slices say all that they do.
_KINDS: Final = (
    "Namespace",
    "Node",
    "Service",
    "EndpointSlice",
    "Pod",
    "DestinationRule",
    "VirtualService",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    "ReferenceGrant",
    "TrafficPolicy",
    "Rule",
    "RuleEndpoint",
)
# Of one list; a whole one might not fit into a Message.
_PAGE: Final = 200
_UNKNOWN: Final = "the server could not find the requested resource"
# The "store" that positions in such a cluster are of; revisions of two clusters are never mixed,
# for each connection begins with a full list.
_STORE: Final = "CloudCore"
# No object's uid and resourceVersion.
_UNDECIDED: Final = ("", "")

Objects = dict[ResourcePath, Mapping[str, Any]]


class _Page(NamedTuple):
    items: list[dict[str, Any]]
    following: str
    revision: str


class ClusterLists:
    """Lists over one connection.

    Args:
        node: this one.
        question: asks the cloud and waits for the answer.
        write: puts Messages on disk.
        tell: tells an operator what is wrong, "" when nothing is any more.
        settings: times.
    """

    def __init__(
        self,
        node: str,
        question: Callable[[Message, float], Awaitable[Message]],
        write: Callable[[Sequence[Message]], Awaitable[None]],
        tell: Callable[[str], None],
        settings: BusSettings,
    ) -> None:
        self._node = node
        self._question = question
        self._write = write
        self._tell = tell
        self._settings = settings
        # Of the last list, uid and resourceVersion.
        self._known: dict[ResourcePath, tuple[str, str]] | None = None
        # Since the present list began, the latest of each object.
        self._pushed: dict[ResourcePath, Message] = {}

    def note_push(self, message: Message) -> None:
        """Note what the cloud says of an object by itself.

        Args:
            message: a push; one that names no object is passed over.
        """
        with suppress(MessageError):
            self._pushed[message.resource] = message

    async def follow(self) -> NoReturn:
        """List, and list again, until cancelled.

        Raises:
            CloudAwayError: the connection has ended.
        """
        while True:
            self._pushed.clear()
            try:
                objects, revision = await self._list_all()
            except (NoAnswerError, MessageError) as problem:
                self._tell(f"the cluster's objects cannot be listed: {problem}")
            else:
                self._tell("")
                listed = [*self._changes(objects), _mark(revision)]
                self._known = self._states(objects)
                await self._write(listed)
            await trio.sleep(self._settings.list_seconds)

    async def _list_all(self) -> tuple[Objects, int]:
        objects: Objects = {}
        revision = 0
        for name in _KINDS:
            kind = find_kind(name)
            assert kind is not None
            listed, reached = await self._list_kind(kind)
            objects |= listed
            revision = max(revision, reached)
        return objects, revision

    async def _list_kind(self, kind: Kind) -> tuple[Objects, int]:
        for version in kind.api_versions:
            objects: Objects = {}
            page = await self._page(kind, version, "")
            if page is None:
                continue  # the cluster has not this version, or not this kind
            objects |= _named(kind, page)
            while page.following:
                page = await self._page(kind, version, page.following)
                if page is None:
                    raise MessageError(f"the list of {kind.plural} came to no end")
                objects |= _named(kind, page)
            return objects, int(page.revision) if page.revision.isdecimal() else 0
        return {}, 0

    async def _page(self, kind: Kind, version: str, following: str) -> _Page | None:
        group, _, number = version.rpartition("/")
        option: dict[str, Any] = {"limit": _PAGE}
        if following:
            option["continue"] = following
        asked = new_application(
            self._node,
            str(AppKey(group, number, kind.plural)),
            Verb.LIST,
            option=msgspec.json.encode(option),
        )
        message = await self._question(ask(asked, new_stamp()), self._settings.answer_seconds)
        answered = read_application(message)
        if answered.status == Status.APPROVED:
            return _read_page(answered.response())
        if answered.reason.endswith(_UNKNOWN):
            return None
        # Not an empty list: whatever hinders it, the objects are there still.
        status = answered.error_status or {}
        words = answered.reason or str(status.get("message") or answered.status)
        raise MessageError(f"{kind.plural}: {words:.300}")

    def _changes(self, objects: Objects) -> list[Message]:
        known, pushed = self._known, self._pushed
        settled = {path: body for path, body in objects.items() if path not in pushed}
        if known is None:
            # What is on disk beyond this list, and was not pushed since, is there no more.
            return [_begin(), *starmap(_present, settled.items()), *pushed.values()]
        changed = [
            _present(path, body)
            for path, body in settled.items()
            if _state(body) != known.get(path)
        ]
        gone = [
            _gone(path, uid)
            for path, (uid, _) in known.items()
            if path not in objects and path not in pushed
        ]
        return [*changed, *gone]

    def _states(self, objects: Objects) -> dict[ResourcePath, tuple[str, str]]:
        # Of what was pushed the next list decides, whatever it says.
        return {path: _state(body) for path, body in objects.items()} | dict.fromkeys(
            self._pushed, _UNDECIDED
        )


def _read_page(value: Mapping[str, Any]) -> _Page:
    metadata, items = value.get("metadata") or {}, value.get("items") or []
    if not isinstance(metadata, dict) or not isinstance(items, list):
        raise MessageError("the answer is no list")
    following, revision = metadata.get("continue") or "", metadata.get("resourceVersion") or ""
    return _Page(items, str(following), str(revision))


def _named(kind: Kind, page: _Page) -> Objects:
    objects: Objects = {}
    for item in page.items:
        match item:
            case {"metadata": {"name": str(name), **metadata}}:
                place = metadata.get("namespace") if kind.namespaced else None
                objects[ResourcePath(str(place or NO_NAMESPACE), kind.word, name)] = item
            case _:
                raise MessageError(f"the list of {kind.plural} has an item without a name")
    return objects


def _present(path: ResourcePath, body: Mapping[str, Any]) -> Message:
    return push(new_stamp(), Operation.UPDATE, path, body)


def _state(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body["metadata"]
    return str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or "")


def _gone(path: ResourcePath, uid: str) -> Message:
    content = tombstone(path.namespace, path.name, uid)
    return push(new_stamp(), Operation.DELETE, path, content)


def _begin() -> Message:
    return _of_sync(Operation.RESPONSE, {"store": _STORE, "full": True})


def _mark(revision: int) -> Message:
    return _of_sync(Operation.UPDATE, {"revision": revision, "synced": True})


def _of_sync(operation: Operation, content: Mapping[str, Any]) -> Message:
    """As an edgemesh cloud would say it; whoever stores it knows no difference."""
    return new_message(
        new_stamp(),
        source="edgehub",
        group=Group.RESOURCE,
        operation=operation,
        resource=SYNC,
        content=content,
    )
