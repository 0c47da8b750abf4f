"""How CloudCore's edgecontroller pushes objects and answers what an edge asks and writes.

A ``query`` is answered by the bare object or ``{"ErrStatus": {...}}``; queries of a Lease, and
what an edge writes (Lease, Node, patches), by ``{"Object": ..., "Err": ...}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from edgemesh.wire.kubeedge.session import OK
from edgemesh.wire.message import (
    NO_NAMESPACE,
    UNREADABLE,
    Group,
    Message,
    MessageError,
    Operation,
    ResourcePath,
    Stamp,
    new_message,
)

EDGE_CONTROLLER: Final = "edgecontroller"
DYNAMIC_CONTROLLER: Final = "dynamiccontroller"

_ERROR = "ErrStatus"


class Answer(NamedTuple):
    """What an answer says: an object, or why there is none.

    Args:
        object: JSON values, None where there is none.
        status: the Status of Kubernetes, None where all is well.
    """

    object: Any
    status: Mapping[str, Any] | None

    @property
    def not_found(self) -> bool:
        """Whether there is no such object."""
        return self.status is not None and self.status.get("code") == 404


def failure(
    code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A Status of Kubernetes as Go writes it inside of an error: without kind and version.

    Args:
        code: of HTTP.
        reason: of Kubernetes, as NotFound.
        message: for people.
        details: name, group and kind, in this order, without what is empty.
    """
    status: dict[str, Any] = {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details:
        status["details"] = dict(details)
    return {**status, "code": code}


def not_found(kind: str, name: str, group: str = "") -> dict[str, Any]:
    """The Status for an object that is not there.

    Args:
        kind: in lower case.
        name: of the object.
        group: of its API, "" for the core.
    """
    qualified = f"{kind}.{group}" if group else kind
    details = {"name": name, **({"group": group} if group else {}), "kind": kind}
    return failure(404, "NotFound", f'{qualified} "{name}" not found', details)


def push(
    stamp: Stamp,
    operation: Operation,
    resource: ResourcePath,
    content: Any,
    *,
    revision: str = "",
    source: str = EDGE_CONTROLLER,
) -> Message:
    """An object on its way to an edge.

    Args:
        stamp: of the Message.
        operation: insert, update or delete.
        resource: of the object; namespace ``null`` for what is in none.
        content: the object; of a deletion it may be a ``tombstone``.
        revision: of the object, "" with a tombstone.
        source: EDGE_CONTROLLER, or DYNAMIC_CONTROLLER for what an Application watches.
    """
    return new_message(
        stamp,
        source=source,
        group=Group.RESOURCE,
        operation=operation,
        resource=str(resource),
        content=content,
        revision=revision,
    )


def tombstone(namespace: str, name: str, uid: str) -> dict[str, Any]:
    """The content of a deletion where the object itself is known no more."""
    place = {} if namespace in {"", NO_NAMESPACE} else {"namespace": namespace}
    return {"metadata": {"name": name, **place, "uid": uid}}


def answer(request: Message, stamp: Stamp, content: Any, *, revision: str = "") -> Message:
    """An answer to what an edge asked or wrote.

    Args:
        request: of the edge.
        stamp: of the answer.
        content: the object, ``error(...)`` or ``outcome(...)``.
        revision: of the object, if any.
    """
    return new_message(
        stamp,
        source=EDGE_CONTROLLER,
        group=Group.RESOURCE,
        operation=Operation.RESPONSE,
        resource=request.route.resource,
        content=content,
        parent=request.header.msg_id,
        revision=revision,
    )


def error(status: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an answer to a query that found nothing."""
    return {_ERROR: dict(status)}


def outcome(stored: Any, status: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The content of an answer to a write, or to a query of a Lease.

    Args:
        stored: the object as it is now, None when there is none.
        status: why, None when all is well.
    """
    return {"Object": stored, "Err": None if status is None else error(status)}


def read_answer(message: Message) -> Answer:
    """Read an answer in any of its forms; that to the deletion of a Pod is ``"OK"``.

    Raises:
        MessageError: it has another.
    """
    value = message.value()
    if value == OK:
        return Answer(None, None)
    if not isinstance(value, dict):
        raise MessageError(f"the answer is neither an object nor an error: {value!r:.100}")
    if value.keys() == {"Object", "Err"}:
        return Answer(value["Object"], _status(value["Err"]))
    if _ERROR in value:
        return Answer(None, _status(value))
    return Answer(value, None)


def read_patch(message: Message) -> dict[str, Any]:
    """Read the content of a patch.

    Raises:
        MessageError: it is not a string with a JSON object in it.
    """
    text = message.value()
    try:
        return msgspec.json.decode(text if isinstance(text, str) else "", type=dict[str, Any])
    except UNREADABLE as problem:
        raise MessageError(f"the patch is not JSON in a string: {problem}") from problem


def _status(wrapped: Any) -> Mapping[str, Any] | None:
    if wrapped is None:
        return None
    status = wrapped.get(_ERROR) if isinstance(wrapped, dict) else None
    if not isinstance(status, dict):
        raise MessageError(f"the error of the answer is none: {wrapped!r:.100}")
    return status
