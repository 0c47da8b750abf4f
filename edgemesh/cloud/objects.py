"""Single objects of an API server: read, created, patched; and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgemesh.cloud.access import Access, Answer
from edgemesh.model.kinds import Kind
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.kubernetes_api.status import Failure, read_status, retry_after

_MERGE = "application/merge-patch+json"
_MULTIPLE_CHOICES = 300


class ApiRefusedError(Exception):
    """The server has answered, and not done what it was asked.

    Args:
        failure: what it says.
        pause: seconds that it asks to be left alone for, 0 for none.
    """

    def __init__(self, failure: Failure, pause: float) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.pause = pause

    @property
    def code(self) -> int:
        """Of HTTP."""
        return self.failure.code


async def read(access: Access, path: str) -> Any:
    """The JSON value that is at a path.

    Raises:
        ApiRefusedError, UnreachableError: there is none, or it cannot be had.
    """
    return _value(await access.request("GET", path))


async def create(access: Access, path: str, body: Mapping[str, Any]) -> Any:
    """Create an object below a path.

    Returns:
        The object as it is now.

    Raises:
        ApiRefusedError, UnreachableError: it is not known to have been created.
    """
    return _value(await access.request("POST", path, body=body))


async def replace(access: Access, path: str, body: Mapping[str, Any]) -> Any:
    """Put an object in the place of one; see `create`."""
    return _value(await access.request("PUT", path, body=body))


async def patch(access: Access, path: str, body: Mapping[str, Any]) -> Any:
    """Merge fields into an object (RFC 7396); see `create`."""
    return _value(await access.request("PATCH", path, body=body, content_type=_MERGE))


def path_of(collection: str, kind: Kind, key: ObjectKey) -> str:
    """Where an object is.

    Args:
        collection: where all of its kind are, ``/api/v1/services``.
        kind: its own.
        key: its name.
    """
    if not kind.namespaced:
        return f"{collection}/{key.name}"
    parent, _, plural = collection.rpartition("/")
    return f"{parent}/namespaces/{key.namespace}/{plural}/{key.name}"


def _value(answer: Answer) -> Any:
    if answer.status >= _MULTIPLE_CHOICES:
        failure = read_status(answer.body, answer.status)
        raise ApiRefusedError(failure, retry_after(answer.headers))
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise ApiRefusedError(Failure(answer.status, "", f"no JSON: {error}"), 0.0) from error
