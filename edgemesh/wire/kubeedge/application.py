"""MetaServer's protocol: requests to the Kubernetes API as Messages, called Applications.

KubeEdge v1.23, ``metaserver/application``. All keys are always there; Go's ``[]byte`` is base64 in
a string, or null.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from edgemesh.wire.kubeedge.answers import DYNAMIC_CONTROLLER
from edgemesh.wire.message import (
    UNREADABLE,
    Group,
    Message,
    MessageError,
    Operation,
    Stamp,
    new_message,
)

NOBODY: Final = "null"
EMPTY_OPTION: Final = b"{}"
WATCH_SYNC: Final = "watchapp/sync"
# What MetaServer passes on besides objects; all other keys are AppKeys.
PLAIN_KEYS: Final = frozenset({"/version", "/healthz", "/apis"})

_SOURCE = "metaserver"
_ANSWER_RESOURCE = "ignore/Application/ignore"
# Go's time.Time that nobody set.
_NO_TIME = "0001-01-01T00:00:00Z"


class Verb(StrEnum):
    """What an Application wants."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    UPDATE_STATUS = "updatestatus"
    PATCH = "patch"
    DELETE = "delete"


class Status(StrEnum):
    """How far an Application has come."""

    PRE_APPLYING = "PreApplying"
    IN_APPLYING = "InApplying"
    IN_PROCESSING = "InProcessing"
    APPROVED = "Approved"
    REJECTED = "Rejected"
    FAILED = "Failed"
    COMPLETED = "Completed"


def _no_error() -> dict[str, Any]:
    return {"ErrStatus": {"metadata": {}}}


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and later its answer.

    Args:
        id: SHA-256 over what it asks; the same question twice has the same id.
        key: ``/group/version/resources/namespace/name``, as AppKey.
        verb: see Verb; a plain string here, so that an unknown one can be named.
        node: that asks.
        option: JSON of the verb's options, in base64.
        request_body, response_body: JSON in base64, None where there is none.
        subresource: as ``status``.
        status, reason, error: of the answer.
        timestamp: not used.
    """

    id: str = msgspec.field(name="ID")
    key: str = msgspec.field(name="Key")
    verb: str = msgspec.field(name="Verb")
    node: str = msgspec.field(name="Nodename")
    option: str | None = msgspec.field(name="Option", default=None)
    request_body: str | None = msgspec.field(name="ReqBody", default=None)
    subresource: str = msgspec.field(name="Subresource", default="")
    response_body: str | None = msgspec.field(name="RespBody", default=None)
    status: str = msgspec.field(name="Status", default=Status.IN_APPLYING.value)
    reason: str = msgspec.field(name="Reason", default="")
    error: dict[str, Any] = msgspec.field(name="Error", default_factory=_no_error)
    timestamp: str = msgspec.field(name="Timestamp", default=_NO_TIME)

    def options(self) -> dict[str, Any]:
        """The options as JSON values.

        Raises:
            MessageError: they are no JSON object in base64.
        """
        return _object("Option", self.option or "")

    def request(self) -> dict[str, Any]:
        """The body of the request as JSON values.

        Raises:
            MessageError: it is no JSON object in base64.
        """
        return _object("ReqBody", self.request_body or "")

    def response(self) -> dict[str, Any]:
        """The body of the answer as JSON values.

        Raises:
            MessageError: it is no JSON object in base64.
        """
        return _object("RespBody", self.response_body or "")

    @property
    def asked_of(self) -> AppKey:
        """The parsed key.

        Raises:
            MessageError: it is none.
        """
        return AppKey.parse(self.key)

    @property
    def error_status(self) -> Mapping[str, Any] | None:
        """The Status of Kubernetes with which it was rejected, None where there is none."""
        status = self.error.get("ErrStatus")
        return status if isinstance(status, dict) and "code" in status else None


class AppKey(NamedTuple):
    """Which objects an Application is about.

    Args:
        group: of the API, "" for the core.
        version: of the API.
        resource: plural, in lower case.
        namespace, name: "" for all of them.
    """

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """The key as it stands in an Application."""
        parts = [self.group or "core", self.version, self.resource]
        return "/" + "/".join([*parts, self.namespace or NOBODY, self.name or NOBODY])

    @classmethod
    def parse(cls, text: str) -> AppKey:
        """Read a key.

        Raises:
            MessageError: it has not five parts, as PLAIN_KEYS have.
        """
        parts = text.split("/")
        if len(parts) != 6 or parts[0] or not all(parts[1:]):
            raise MessageError(f"key {text!r} is not /group/version/resource/namespace/name")
        group, version, resource, namespace, name = parts[1:]
        return cls(
            "" if group == "core" else group,
            version,
            resource,
            "" if namespace == NOBODY else namespace,
            "" if name == NOBODY else name,
        )


def new_application(
    node: str,
    key: str,
    verb: str,
    *,
    option: bytes = EMPTY_OPTION,
    body: bytes | None = None,
    subresource: str = "",
) -> Application:
    """Make a request.

    Args:
        node: that asks.
        key: see AppKey.
        verb: see Verb.
        option: JSON of the options.
        body: JSON of the object, for writes.
        subresource: as ``status``.
    """
    return Application(
        id=application_id(
            node, key, verb, option=option, body=body or b"", subresource=subresource
        ),
        key=key,
        verb=verb,
        node=node,
        option=_base64(option),
        request_body=None if body is None else _base64(body),
        subresource=subresource,
    )


def application_id(
    node: str, key: str, verb: str, *, option: bytes, body: bytes, subresource: str
) -> str:
    """The id of an Application: SHA-256 over its parts, one behind the other."""
    parts = [node.encode(), key.encode(), verb.encode(), option, body, subresource.encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def approve(application: Application, body: bytes | None) -> Application:
    """The answer to a request that was done; JSON of the object or the list."""
    encoded = None if body is None else _base64(body)
    return msgspec.structs.replace(application, status=Status.APPROVED.value, response_body=encoded)


def reject(
    application: Application, reason: str = "", status: Mapping[str, Any] | None = None
) -> Application:
    """The answer to a request that was not done.

    Args:
        application: the request.
        reason: in words, where there is no Status.
        status: of Kubernetes, with kind and apiVersion.
    """
    error = _no_error() if status is None else {"ErrStatus": dict(status)}
    return msgspec.structs.replace(
        application, status=Status.REJECTED.value, reason=reason, error=error
    )


def ask(application: Application, stamp: Stamp) -> Message:
    """The Message that carries a request to the cloud."""
    return new_message(
        stamp,
        source=_SOURCE,
        group=Group.DYNAMIC,
        operation=Operation.NULL,
        resource=NOBODY,
        content=application,
    )


def respond(request: Message, stamp: Stamp, application: Application) -> Message:
    """The Message that carries an answer to the edge. It is not acknowledged."""
    return _response(request, stamp, _ANSWER_RESOURCE, application)


def respond_watches(request: Message, stamp: Stamp, failed: Mapping[str, Application]) -> Message:
    """The answer to ``watchapp/sync``: the watches that cannot be, by their ids."""
    return _response(request, stamp, WATCH_SYNC, dict(failed))


def is_application(message: Message) -> bool:
    """Whether an edge sent an Application, or all of its watches."""
    return message.route.group == Group.DYNAMIC and message.route.source == _SOURCE


def read_application(message: Message) -> Application:
    """Read a request or an answer.

    Raises:
        MessageError: the content is none.
    """
    return _read(message, _APPLICATION)


def read_watches(message: Message) -> dict[str, Application]:
    """Read the content of ``watchapp/sync``: Applications by id.

    Raises:
        MessageError: the content is another.
    """
    return _read(message, _WATCHES)


_Content = TypeVar("_Content")

_APPLICATION = msgspec.json.Decoder(Application)
_WATCHES = msgspec.json.Decoder(dict[str, Application])


def _read(message: Message, decoder: msgspec.json.Decoder[_Content]) -> _Content:
    try:
        return decoder.decode(message.content)
    except UNREADABLE as error:
        raise MessageError(f"not an Application: {error}") from error


def _response(request: Message, stamp: Stamp, resource: str, content: Any) -> Message:
    return new_message(
        stamp,
        source=DYNAMIC_CONTROLLER,
        group=Group.RESOURCE,
        operation=Operation.APPLICATION_RESPONSE,
        resource=resource,
        content=content,
        parent=request.header.msg_id,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True), type=dict[str, Any])
    except (binascii.Error, ValueError, RecursionError) as error:
        raise MessageError(f"{name} is no JSON object in base64: {error}") from error
