"""How an edge and a CloudHub begin and keep up: upgrade request, keepalives, acknowledgements."""

from __future__ import annotations

from typing import Final

from edgemesh.wire.message import (
    Group,
    Message,
    MessageError,
    Operation,
    ResourcePath,
    Stamp,
    encode_content,
    new_message,
)

OK: Final = "OK"

_OK = encode_content(OK)
_PUSHES = frozenset({Operation.INSERT, Operation.UPDATE, Operation.DELETE})
# Their responses carry an object that the edge keeps, so CloudCore wants to know.
_KEPT_FROM_RESPONSES = frozenset({"configmap", "secret"})
# Pushed, and neither kept nor acknowledged.
_NEVER_ACKNOWLEDGED = frozenset(
    {"podlist", "podpatch", "podstatus", "certificatesigningrequest", "serviceaccounttoken"}
)


def upgrade_path(project: str, node: str) -> str:
    """The path that EdgeCore dials; CloudCore takes any."""
    return f"/{project}/{node}/events"


def upgrade_headers(project: str, node: str) -> list[tuple[str, str]]:
    """The headers by which a CloudHub knows an edge.

    Without ConnectionUse CloudCore never reads what the edge sends. There must be no Origin.
    """
    return [("node_id", node), ("project_id", project), ("ConnectionUse", "msg")]


def keepalive(stamp: Stamp) -> Message:
    """What an edge sends right after the upgrade and then every 15 s.

    Nothing else counts: CloudCore cuts an edge 30 s after its last one, whatever else it sends.
    """
    return new_message(
        stamp,
        source="websocket",
        group=Group.RESOURCE,
        operation=Operation.KEEPALIVE,
        resource="node",
        content="ping",
    )


def is_keepalive(message: Message) -> bool:
    """Whether a Message is a keepalive."""
    return message.route.operation == Operation.KEEPALIVE


def acknowledge(message: Message, stamp: Stamp) -> Message:
    """The acknowledgement of a Message, as EdgeCore writes it: with its source and resource."""
    route = message.route
    return new_message(
        stamp,
        source=route.source,
        group=route.group,
        operation=Operation.RESPONSE,
        resource=route.resource,
        content=OK,
        parent=message.header.msg_id,
    )


def acknowledged(message: Message) -> str:
    """The msg_id of the Message that this one acknowledges, "" when it is no acknowledgement."""
    if message.route.operation != Operation.RESPONSE or message.content != _OK:
        return ""
    return message.header.parent_msg_id


def is_acknowledged_by_edge(message: Message) -> bool:
    """Whether EdgeCore acknowledges this Message of its cloud, needed or not.

    It does for every push and for every answer of group ``resource`` (captures, point 15).
    """
    route = message.route
    return route.group == Group.RESOURCE and (
        route.operation in _PUSHES or route.operation == Operation.RESPONSE
    )


def needs_acknowledgement(message: Message) -> bool:
    """Whether CloudCore sends this Message again until it is acknowledged.

    Pushes of objects, and answers with an object that the edge keeps.
    """
    route = message.route
    if route.group != Group.RESOURCE:
        return False
    try:
        kind = ResourcePath.parse(route.resource).type
    except MessageError:
        return False
    if route.operation in _PUSHES:
        return kind not in _NEVER_ACKNOWLEDGED
    return (
        route.operation == Operation.RESPONSE
        and kind in _KEPT_FROM_RESPONSES
        and bool(message.header.resourceversion)
    )
