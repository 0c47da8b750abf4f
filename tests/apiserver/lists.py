"""Lists: pages, what resourceVersion means, and tokens that have become too old."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import NamedTuple

import trio

from apiserver.answers import RefusedError, bad_request, failed, too_large
from apiserver.defaults import as_kind
from apiserver.history import History, TooOldError
from apiserver.resources import Body, Key, ResourceType, Target
from apiserver.selection import is_selective, wanted_by

_INCONSISTENT = -1
FUTURE_SECONDS = 3.0
"""How long a list waits for a revision that does not exist yet."""


class _Page(NamedTuple):
    """From where a page is read: the state at a revision, from a key on."""

    objects: Mapping[Key, Body]
    revision: int
    start: str = ""


async def listed(
    history: History, type_: ResourceType, target: Target, query: Mapping[str, str]
) -> Body:
    """The list that a query asks for.

    Raises:
        RefusedError: the query asks for what is forgotten, not there yet, or not meaningful.
    """
    limit = check_limit(query)
    page = await _page(history, type_, target, query, limit)
    wanted = wanted_by(type_, target, query)
    prefix = f"{target.namespace}/" if target.namespace else ""
    rows = sorted(
        (_path(key).removeprefix(prefix), body)
        for key, body in page.objects.items()
        if wanted(body)
    )
    rows = [row for row in rows if row[0] >= page.start]
    if target.name:
        rows = [row for row in rows if row[1]["metadata"]["name"] == target.name]
    metadata = {"resourceVersion": str(page.revision)}
    if limit and len(rows) > limit:
        start = f"{rows[limit - 1][0]}\0"
        metadata["continue"] = _token(page.revision, f"/{start}")
        if not is_selective(query):
            metadata["remainingItemCount"] = len(rows) - limit  # type: ignore[assignment]
        rows = rows[:limit]
    return list_body(type_, target, metadata, [body for _, body in rows])


def list_body(
    type_: ResourceType, target: Target, metadata: Mapping[str, object], bodies: list[Body]
) -> Body:
    """A list as the API server writes it: custom objects tell their kind, others do not."""
    if type_.custom:
        items = [as_kind(type_, target, body) for body in bodies]
        metadata = {"continue": "", **metadata}
    else:
        items = [_without_kind(body) for body in bodies]
    return {
        "kind": f"{type_.kind}List",
        "apiVersion": target.api_version,
        "metadata": metadata,
        "items": items,
    }


async def _page(
    history: History,
    type_: ResourceType,
    target: Target,
    query: Mapping[str, str],
    limit: int,
) -> _Page:
    asked = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    if token := query.get("continue", ""):
        if asked not in {"", "0"} or match:
            raise bad_request("specifying resource version is not allowed when using continue")
        return _continued(history, type_, token)
    if match and not asked:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    revision = _revision(asked)
    if revision > history.revision:
        await _wait_for(history, revision)
    exact = match == "Exact" or (revision > 0 and limit > 0 and not match)
    if not exact:
        return _Page(history.objects(type_), history.revision)
    try:
        return _Page(history.at(type_, revision), revision)
    except TooOldError as error:
        words = "The resourceVersion for the provided list is too old."
        raise failed(410, words, "Expired") from error


async def _wait_for(history: History, revision: int) -> None:
    with trio.move_on_after(FUTURE_SECONDS):
        while history.revision < revision:
            await history.written.wait()
    if history.revision < revision:
        raise too_large(revision, history.revision)


def _continued(history: History, type_: ResourceType, token: str) -> _Page:
    revision, start = read_token(token)
    if revision == _INCONSISTENT:
        return _Page(history.objects(type_), history.revision, start)
    try:
        return _Page(history.at(type_, revision), revision, start)
    except TooOldError as error:
        raise expired_continue(start) from error


def read_token(token: str) -> tuple[int, str]:
    """The revision and the first key of a ``continue``.

    Raises:
        RefusedError: it is not one of ours.
    """
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(read["rv"]), str(read["start"]).removeprefix("/")
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request(
            "invalid continue token: continue key is not valid: "
            "invalid character 'i' looking for beginning of value"
        ) from error


def expired_continue(start: str) -> RefusedError:
    """The 410 of a ``continue``; it carries a token that goes on without consistency."""
    return failed(
        410,
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted "
        "between the time the first chunk was returned and now may show up in the list.",
        "Expired",
        metadata={"continue": _token(_INCONSISTENT, start)},
    )


def _token(revision: int, start: str) -> str:
    written = {"v": "meta.k8s.io/v1", "rv": revision, "start": start}
    encoded = json.dumps(written, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


def _path(key: Key) -> str:
    namespace, name = key
    return f"{namespace}/{name}" if namespace else name


def _without_kind(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in {"kind", "apiVersion"}}


def check_limit(query: Mapping[str, str]) -> int:
    """How many objects a page may have; 0 is any number.

    Raises:
        RefusedError: it is not a number.
    """
    text = query.get("limit", "")
    if text and not text.lstrip("-").isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text or 0)


def parse_error(text: str) -> str:
    """What is said of a resourceVersion that is not a number."""
    return (
        f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
        "invalid syntax"
    )


def _revision(text: str) -> int:
    if text and not text.isdecimal():
        raise bad_request(f"invalid resource version: {parse_error(text)}")
    return int(text or 0)
