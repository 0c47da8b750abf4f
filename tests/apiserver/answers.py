"""What is asked and answered; Kubernetes' errors in their recorded words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from apiserver.resources import Body, ResourceType

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
_TEXT_HEADERS = (("Content-Type", TEXT), ("X-Content-Type-Options", "nosniff"))


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        target: path and query as they were sent.
        query: the last value of each parameter.
        headers: names in lower case.
        at: the server's clock in seconds.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    at: float = 0.0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def watches(self) -> bool:
        return self.method == "GET" and self.query.get("watch") in {"1", "true"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is not a stream."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)


class RefusedError(Exception):
    """A request gets this answer instead of what it asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


def ok(body: Body, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, msgspec.json.encode(body))


def text(status: int, words: str, *headers: tuple[str, str]) -> Answer:
    """An answer of Go's ``http.Error``."""
    return Answer(status, words.encode(), (*headers, *_TEXT_HEADERS))


def page_not_found() -> Answer:
    """What a path gets that no resource type is behind."""
    return text(404, "404 page not found\n")


def status_body(
    code: int,
    message: str,
    reason: str = "",
    details: Body | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Body:
    """A failed ``Status``."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": metadata or {},
        "status": "Failure",
        "message": message,
        **({"reason": reason} if reason else {}),
        **({"details": details} if details is not None else {}),
        "code": code,
    }


def failed(
    code: int,
    message: str,
    reason: str = "",
    details: Body | None = None,
    *,
    retry_after: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> RefusedError:
    """A failed ``Status`` to be raised."""
    waits = () if retry_after is None else (("Retry-After", str(retry_after)),)
    body = msgspec.json.encode(status_body(code, message, reason, details, metadata))
    return RefusedError(Answer(code, body, (("Content-Type", JSON), *waits)))


def details_of(type_: ResourceType, name: str, **more: Any) -> Body:
    """``details`` that name one object."""
    group = {"group": type_.group} if type_.group else {}
    return {"name": name, **group, "kind": type_.plural, **more}


def not_found(type_: ResourceType, name: str) -> RefusedError:
    message = f'{type_.title} "{name}" not found'
    return failed(404, message, "NotFound", details_of(type_, name))


def already_exists(type_: ResourceType, name: str) -> RefusedError:
    message = f'{type_.title} "{name}" already exists'
    return failed(409, message, "AlreadyExists", details_of(type_, name))


def conflict(type_: ResourceType, name: str, why: str = "") -> RefusedError:
    """A write that was made from an older version of the object."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {type_.title} "{name}": {why}'
    return failed(409, message, "Conflict", details_of(type_, name))


def bad_request(message: str) -> RefusedError:
    return failed(400, message, "BadRequest")


def unauthorized() -> RefusedError:
    return failed(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> RefusedError:
    message = "the server does not allow this method on the requested resource"
    return failed(405, message, "MethodNotAllowed", {})


def too_large(revision: int, current: int) -> RefusedError:
    """A list was asked for that is as new as what does not exist yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return failed(
        504,
        f"Timeout: Too large resource version: {revision}, current: {current}",
        "Timeout",
        {"causes": [cause], "retryAfterSeconds": 1},
        retry_after=1,
    )


def invalid(kind: str, name: str, group: str, causes: list[tuple[str, str, str]]) -> RefusedError:
    """A 422.

    Args:
        causes: of each its reason, field and message.
    """
    told = [f"{field}: {message}" for _, field, message in causes]
    words = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    titled = f"{kind}.{group}" if group else kind
    details = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [
            {"reason": reason, "message": message, "field": field}
            for reason, field, message in causes
        ],
    }
    return failed(422, f'{titled} "{name}" is invalid: {words}', "Invalid", details)
