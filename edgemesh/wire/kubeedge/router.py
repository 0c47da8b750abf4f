"""What the router says to an edge and hears from it: HTTP and MQTT as Messages of group ``user``.

KubeEdge v1.23. ``router_servicebus`` asks an edge to call an application, ``servicebus`` answers;
``router_eventbus`` publishes to topics, ``bus`` brings what was published at the edge. Bodies are
base64 in a string; none is "". None of these is acknowledged.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from edgemesh.wire.message import (
    UNREADABLE,
    Group,
    Message,
    MessageError,
    Operation,
    Stamp,
    new_message,
)

ROUTER_SERVICEBUS: Final = "router_servicebus"
ROUTER_EVENTBUS: Final = "router_eventbus"
SERVICEBUS: Final = "servicebus"
EVENTBUS: Final = "bus"

Headers = Mapping[str, list[str]]


class CallTarget(NamedTuple):
    """Which application of an edge is called: the resource ``PORT:PATH?QUERY``."""

    port: int
    path: str

    def __str__(self) -> str:
        """The target as it stands in a Message."""
        return f"{self.port}:{self.path}"

    @classmethod
    def parse(cls, text: str) -> CallTarget:
        """Read a target; its path may have colons itself.

        Raises:
            MessageError: it has no port, or no absolute path.
        """
        port, colon, path = text.partition(":")
        if not colon or not _is_port(port) or not path.startswith("/"):
            raise MessageError(f"resource {text!r} is not PORT:/PATH")
        return cls(int(port), path)


class Call(NamedTuple):
    """A request for an application at an edge.

    Args:
        method: of HTTP.
        target: where to.
        headers: all values of each; names as Go writes them (``Content-Type``).
        body: whole.
    """

    method: str
    target: CallTarget
    headers: Headers
    body: bytes


class Reply(NamedTuple):
    """Its answer.

    Args:
        status: of HTTP.
        headers, body: as those of a call.
    """

    status: int
    headers: Headers
    body: bytes


class _CallContent(msgspec.Struct, frozen=True):
    header: dict[str, list[str]] | None = None
    body: str = ""
    method: str = ""
    url: str = ""


class _ReplyContent(msgspec.Struct, frozen=True):
    header: dict[str, list[str]] | None = None
    status_code: int = 0
    body: str | None = ""


_CALL = msgspec.json.Decoder(_CallContent)
_REPLY = msgspec.json.Decoder(_ReplyContent)


def gather_headers(fields: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Headers as Go has them: names in its canonical form, sorted, with all values of each."""
    gathered: dict[str, list[str]] = {}
    for name, value in fields:
        gathered.setdefault("-".join(map(str.capitalize, name.split("-"))), []).append(value)
    return dict(sorted(gathered.items()))


def call(stamp: Stamp, request: Call) -> Message:
    """Ask an edge to call an application. The query string is part of the path; url stays empty."""
    content = _CallContent(dict(request.headers), _encode(request.body), request.method)
    return new_message(
        stamp,
        source=ROUTER_SERVICEBUS,
        group=Group.USER,
        operation=request.method,
        resource=str(request.target),
        content=content,
    )


def is_call(message: Message) -> bool:
    """Whether a Message asks for a call; ``start`` and ``stop`` of its source do not."""
    route = message.route
    return (
        route.source == ROUTER_SERVICEBUS
        and route.group == Group.USER
        and route.operation not in {Operation.START, Operation.STOP}
    )


def read_call(message: Message) -> Call:
    """Read what ``call`` wrote, or CloudCore.

    Raises:
        MessageError: the target or the content is none.
    """
    target = CallTarget.parse(message.route.resource)
    try:
        content = _CALL.decode(message.content)
    except UNREADABLE as error:
        raise MessageError(f"not a call: {error}") from error
    method = content.method or message.route.operation
    return Call(method, target, content.header or {}, _decode(content.body))


def reply(request: Message, stamp: Stamp, answered: Reply) -> Message:
    """Answer a call. Without this operation the router would not know it for an answer."""
    content = _ReplyContent(dict(answered.headers), answered.status, _encode(answered.body))
    return new_message(
        stamp,
        source=SERVICEBUS,
        group=Group.USER,
        operation=Operation.UPLOAD,
        resource="",
        content=content,
        parent=request.header.msg_id,
    )


def is_reply(message: Message) -> bool:
    """Whether a Message answers a call. That of EdgeCore's own errors has no operation."""
    route = message.route
    return (
        route.group == Group.USER
        and route.operation in {Operation.UPLOAD, ""}
        and bool(message.header.parent_msg_id)
    )


def read_reply(message: Message) -> Reply:
    """Read an answer to a call.

    Raises:
        MessageError: the content is none.
    """
    try:
        content = _REPLY.decode(message.content)
    except UNREADABLE as error:
        raise MessageError(f"not an answer to a call: {error}") from error
    if not 100 <= content.status_code <= 999:
        raise MessageError(f"not an answer to a call: status_code {content.status_code}")
    return Reply(content.status_code, content.header or {}, _decode(content.body or ""))


def publish(stamp: Stamp, topic: str, payload: str) -> Message:
    """Ask an edge to publish to a topic of its broker; nobody answers."""
    return _to_eventbus(stamp, Operation.PUBLISH, topic, payload)


def subscribe(stamp: Stamp, namespace: str, topic: str) -> Message:
    """Ask an edge to bring what is published to a topic."""
    return _to_eventbus(stamp, Operation.SUBSCRIBE, f"{namespace}/{topic}", None)


def unsubscribe(stamp: Stamp, namespace: str, topic: str) -> Message:
    """Ask an edge to stop bringing what is published to a topic."""
    return _to_eventbus(stamp, Operation.UNSUBSCRIBE, f"{namespace}/{topic}", None)


def allow_url(stamp: Stamp, url: str) -> Message:
    """Let applications of an edge call a URL through the cloud."""
    return _to_servicebus(stamp, Operation.START, url)


def forbid_url(stamp: Stamp, url: str) -> Message:
    """Take ``allow_url`` back. CloudCore writes ``http:/`` here, so its edges never forget one."""
    return _to_servicebus(stamp, Operation.STOP, url)


def upload(stamp: Stamp, source: str, resource: str, payload: bytes) -> Message:
    """Bring to the cloud what an application of an edge published or wants to have called.

    Args:
        stamp: of the Message.
        source: EVENTBUS or SERVICEBUS.
        resource: ``NAMESPACE/TOPIC`` or the URL.
        payload: goes as Go's ``[]byte`` does.
    """
    return new_message(
        stamp,
        source=source,
        group=Group.USER,
        operation=Operation.UPLOAD,
        resource=resource,
        content=payload,
    )


def is_upload(message: Message) -> bool:
    """Whether a Message brings something to the cloud that nobody there asked for."""
    route = message.route
    return (
        route.group == Group.USER
        and route.operation == Operation.UPLOAD
        and not message.header.parent_msg_id
    )


def read_payload(message: Message) -> bytes:
    """What is in an upload or a ``publish``: bytes from base64, a text as it is, or JSON.

    CloudCore does not decode base64 and passes the string on; its targets then get what nobody
    sent. A text that is no base64 is taken as it is.
    """
    value = message.value()
    if not isinstance(value, str):
        return bytes(message.content)
    try:
        return _decode(value)
    except MessageError:
        return value.encode()


def answer_upload(request: Message, stamp: Stamp, body: str) -> Message:
    """Tell an edge what the target of its upload said."""
    return new_message(
        stamp,
        source=SERVICEBUS,
        group=Group.USER,
        operation=Operation.RESPONSE,
        resource=request.route.resource,
        content=body,
        parent=request.header.msg_id,
    )


def _to_eventbus(stamp: Stamp, operation: Operation, resource: str, content: Any) -> Message:
    return new_message(
        stamp,
        source=ROUTER_EVENTBUS,
        group=Group.USER,
        operation=operation,
        resource=resource,
        content=content,
    )


def _to_servicebus(stamp: Stamp, operation: Operation, url: str) -> Message:
    return new_message(
        stamp,
        source=ROUTER_SERVICEBUS,
        group=Group.USER,
        operation=operation,
        resource=url,
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536


def _encode(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"the body is not base64: {error}") from error
