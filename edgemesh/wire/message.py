"""The Message of KubeEdge's beehive, as JSON: what metamanager, nodes and cloud say to each other.

Field names and their order are those of ``beehive/pkg/core/model`` (KubeEdge v1.23); fields
that Go marks ``omitempty`` are left out when empty. Fields that are unknown here are kept and
written again, so that a Message passes through us unharmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

ALL_NAMESPACES = "all"
NO_NAMESPACE = "null"
ALL_TYPES = "all"

# What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deeply.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NULL = msgspec.Raw(b"null")


class MessageError(ValueError):
    """Bytes that are no Message; the text says what is wrong with them."""


class NotAnObjectError(MessageError):
    """Bytes that are not even a JSON object; KubeEdge ends a connection for them."""


class MessageTooLongError(MessageError):
    """A Message beyond the limit; it was not looked into."""


class Operation(StrEnum):
    """The operations of Messages; of group ``user`` they are HTTP's methods besides."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    QUERY = "query"
    PATCH = "patch"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    RESPONSE = "response"
    ERROR = "error"
    KEEPALIVE = "keepalive"
    CONNECT = "connect"
    PUBLISH = "publish"
    UPLOAD = "upload"
    START = "start"
    STOP = "stop"
    APPLICATION_RESPONSE = "applicationResponse"
    NULL = "null"


class Group(StrEnum):
    """What a Message has to do with."""

    RESOURCE = "resource"
    META = "meta"
    USER = "user"
    HUB = "hub"
    BUS = "bus"
    TWIN = "twin"
    FUNC = "func"
    MESH = "mesh"
    DYNAMIC = "dynamiccontroller"


class Stamp(NamedTuple):
    """What makes a new Message this one.

    Args:
        msg_id: its id, a UUID.
        timestamp: milliseconds since 1970.
    """

    msg_id: str
    timestamp: int


class ResourcePath(NamedTuple):
    """What a Message is about: ``namespace/type`` or ``namespace/type/name``.

    Args:
        namespace: ``null`` for what is in none, ``all`` for every one.
        type: the kind in lower case, ``all`` for every kind.
        name: "" for every object.
    """

    namespace: str
    type: str
    name: str = ""

    def __str__(self) -> str:
        """The path as it stands in a Message."""
        return "/".join(part for part in self if part)

    @classmethod
    def parse(cls, text: str) -> ResourcePath:
        """Read a path.

        Raises:
            MessageError: it has not two or three parts, or an empty one.
        """
        parts = text.split("/")
        if len(parts) not in {2, 3} or not all(parts):
            raise MessageError(f"resource {text!r} is not namespace/type or namespace/type/name")
        return cls(*parts)


# Without gc: thousands come at once, and none can be part of a cycle.
class Header(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """Who a Message is and what it answers.

    Args:
        msg_id: its own id, a UUID.
        parent_msg_id: the Message that it answers, "" when it answers none.
        timestamp: milliseconds since 1970.
        resourceversion: the revision of the object that it carries.
        sync: whether the sender waits for a response.
        type: of the content, where a receiver needs telling.
    """

    msg_id: str
    parent_msg_id: str = ""
    timestamp: int
    resourceversion: str = ""
    sync: bool = False
    type: str = ""


class Route(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """Where a Message comes from, where it goes, and what it wants with which resource."""

    source: str = ""
    destination: str = ""
    group: str = ""
    operation: str = ""
    resource: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Message.

    Args:
        header, route: its envelope.
        content: any JSON, still encoded, so that an envelope costs little to read.
        unknown: fields without a meaning here, by "", "header" or "route" where they stood.
    """

    header: Header
    route: Route
    content: msgspec.Raw = _NULL
    unknown: Mapping[str, Mapping[str, msgspec.Raw]] = {}

    @property
    def resource(self) -> ResourcePath:
        """The parsed resource.

        Raises:
            MessageError: it is no path.
        """
        return ResourcePath.parse(self.route.resource)

    def value(self) -> Any:
        """The content as JSON values.

        Raises:
            MessageError: it is nested too deeply.
        """
        try:
            return msgspec.json.decode(self.content)
        except UNREADABLE as error:
            raise MessageError(f"content: {error}") from error


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A Message without anything unknown, as nearly all are: read in one go."""

    header: Header
    route: Route
    content: msgspec.Raw = _NULL


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ENVELOPES = msgspec.json.Decoder(list[_Envelope])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])


def decode_message(line: bytes) -> Message:
    """Read one Message.

    Raises:
        NotAnObjectError: it is not JSON, or not an object.
        MessageError: it lacks a field, or a field has the wrong type.
    """
    try:
        return _message(_ENVELOPE.decode(line))
    except UNREADABLE:
        return _decode_with_unknown(line)


def _message(envelope: _Envelope) -> Message:
    return Message(header=envelope.header, route=envelope.route, content=envelope.content)


def _decode_with_unknown(line: bytes) -> Message:
    """Read a Message of which all is kept that is unknown here, or say what is wrong with it."""
    try:
        fields = _FIELDS.decode(line)
    except UNREADABLE as error:
        raise NotAnObjectError(f"not a Message: {error}") from error
    unknown: dict[str, dict[str, msgspec.Raw]] = {}
    _keep_unknown(unknown, "", fields, _Envelope)
    try:
        place = "header"
        header = _read_part(unknown, place, fields.get(place, _NULL), Header)
        place = "route"
        route = _read_part(unknown, place, fields.get(place, _NULL), Route)
    except UNREADABLE as error:
        raise MessageError(f"not a Message: {place}: {error}") from error
    content = fields.get("content", _NULL)
    return Message(header=header, route=route, content=content, unknown=unknown)


_Part = TypeVar("_Part", Header, Route)


def _read_part(
    unknown: dict[str, dict[str, msgspec.Raw]], name: str, raw: msgspec.Raw, part: type[_Part]
) -> _Part:
    fields = _FIELDS.decode(raw)
    _keep_unknown(unknown, name, fields, part)
    known = {name: fields[name] for name in part.__struct_fields__ if name in fields}
    return msgspec.json.decode(msgspec.json.encode(known), type=part)


def _keep_unknown(
    unknown: dict[str, dict[str, msgspec.Raw]],
    name: str,
    fields: dict[str, msgspec.Raw],
    known: type[msgspec.Struct],
) -> None:
    found = {key: raw.copy() for key, raw in fields.items() if key not in known.__struct_fields__}
    if found:
        unknown[name] = found


def decode_frame(frame: str | bytes | bytearray, limit: int) -> Message:
    """Read the Message of one WebSocket frame, text or binary.

    The limit has to hold before a frame is read as well, or its announced gigabyte is in memory
    by now: see ``wire/websocket_frames``.

    Args:
        frame: whole.
        limit: bytes.

    Raises:
        MessageTooLongError: it has more.
        NotAnObjectError, MessageError: as ``decode_message``.
    """
    return decode_message(_checked(frame, limit))


def decode_frames(frame: str | bytes | bytearray, limit: int) -> list[Message]:
    """Read all Messages of one WebSocket frame between ends of edgemesh, see `join_frames`.

    Raises:
        as ``decode_frame``.
    """
    data = _checked(frame, limit)
    if not data.lstrip().startswith(b"["):
        return [decode_message(data)]
    try:
        messages = [_message(envelope) for envelope in _ENVELOPES.decode(data)]
    except UNREADABLE:
        messages = [decode_message(bytes(part)) for part in _parts(data)]
    if not messages:
        raise NotAnObjectError("not a Message: an empty array")
    return messages


def _parts(data: bytes) -> list[msgspec.Raw]:
    try:
        return _PARTS.decode(data)
    except UNREADABLE as error:
        raise NotAnObjectError(f"not Messages: {error}") from error


def join_frames(texts: Sequence[str]) -> str:
    """One frame of several Messages, as a JSON array; of one alone it is that Message.

    A frame costs more than a Message: TLS, a system call, and a turn of the event loop at each
    end. KubeEdge's ends know one Message a frame.
    """
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def _checked(frame: str | bytes | bytearray, limit: int) -> bytes:
    # A character has at least one byte: what is too long is not encoded first.
    if len(frame) > limit:
        raise MessageTooLongError(f"a Message of more than {limit} bytes")
    try:
        data = frame.encode() if isinstance(frame, str) else bytes(frame)
        data.decode()  # msgspec does not look into what stays encoded
    except UnicodeError as error:
        raise NotAnObjectError(f"not a Message: {error}") from error
    if len(data) > limit:
        raise MessageTooLongError(f"a Message of {len(data)} bytes, allowed are {limit}")
    return data


def new_message(
    stamp: Stamp,
    *,
    source: str,
    group: str,
    operation: str,
    resource: str,
    content: Any = None,
    parent: str = "",
    revision: str = "",
) -> Message:
    """Make a Message.

    Args:
        stamp: its id and time.
        source: the module that sends it.
        group: see Group.
        operation: see Operation.
        resource: what it is about.
        content: JSON values, bytes (as Go writes them: base64 in a string), or JSON as
            ``msgspec.Raw``.
        parent: the Message that it answers.
        revision: of the object that it carries.
    """
    return Message(
        header=Header(
            msg_id=stamp.msg_id,
            parent_msg_id=parent,
            timestamp=stamp.timestamp,
            resourceversion=revision,
        ),
        route=Route(source=source, group=group, operation=operation, resource=resource),
        content=content if isinstance(content, msgspec.Raw) else encode_content(content),
    )


def encode_message(message: Message) -> bytes:
    """Write one Message on one line, without its end."""
    envelope: dict[str, Any] = {
        "header": _with_unknown(message.header, message.unknown.get("header")),
        "route": _with_unknown(message.route, message.unknown.get("route")),
        "content": message.content,
        **message.unknown.get("", {}),
    }
    return msgspec.json.encode(envelope)


def encode_content(value: Any) -> msgspec.Raw:
    """Encode JSON values as the content of a Message."""
    return msgspec.Raw(msgspec.json.encode(value))


def _with_unknown(part: Header | Route, unknown: Mapping[str, msgspec.Raw] | None) -> Any:
    return {**msgspec.to_builtins(part), **unknown} if unknown else part
