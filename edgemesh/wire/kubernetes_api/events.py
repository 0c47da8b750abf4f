"""Events of a watch: one JSON object in each line.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from edgemesh.wire.kubernetes_api.objects import UNREADABLE, ApiContentError
from edgemesh.wire.kubernetes_api.status import Failure, read_status

# On the bookmark after the objects that there were when a streamed list began.
_INITIAL_END = "k8s.io/initial-events-end"


class EventType(StrEnum):
    """What an event tells of its object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


class WatchEvent(NamedTuple):
    """An event.

    Args:
        type: what it tells.
        object: JSON of what it is about, not looked into.
    """

    type: EventType
    object: msgspec.Raw


class Bookmark(NamedTuple):
    """How far a watch has come.

    Args:
        revision: up to which everything was sent.
        ends_list: whether everything that there was at the beginning has been sent.
    """

    revision: str
    ends_list: bool


class _Event(msgspec.Struct):
    type: EventType
    object: msgspec.Raw


class _BookmarkMetadata(msgspec.Struct, rename="camel"):
    resource_version: str
    annotations: dict[str, str] | None = None


class _BookmarkObject(msgspec.Struct):
    metadata: _BookmarkMetadata


_event_decoder = msgspec.json.Decoder(_Event)
_bookmark_decoder = msgspec.json.Decoder(_BookmarkObject)


def read_event(line: bytes) -> WatchEvent:
    """Read a line of a watch.

    Raises:
        ApiContentError: it is no event.
    """
    try:
        event = _event_decoder.decode(line)
    except UNREADABLE as error:
        raise ApiContentError(f"a line of the watch is no event: {error}") from error
    return WatchEvent(event.type, event.object)


def read_bookmark(event: WatchEvent) -> Bookmark:
    """Read the object of a BOOKMARK.

    Raises:
        ApiContentError: it tells no ``resourceVersion``.
    """
    try:
        metadata = _bookmark_decoder.decode(event.object).metadata
    except UNREADABLE as error:
        raise ApiContentError(f"a bookmark cannot be read: {error}") from error
    ends_list = (metadata.annotations or {}).get(_INITIAL_END) == "true"
    return Bookmark(metadata.resource_version, ends_list)


def read_error(event: WatchEvent) -> Failure:
    """Read the object of an ERROR: a Status, as in an answer that fails."""
    return read_status(bytes(event.object), 0)
