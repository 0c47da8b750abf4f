"""The recorded lists and watches of a real API server and MetaServer, ready to be replayed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).parents[2] / "shared/captures"
_VOLATILE = ("resourceVersion", "uid", "creationTimestamp", "generateName")
_CREATED_HERE = re.compile(r"tmp-(api|meta)")


class Recorded(NamedTuple):
    """One request with its answer.

    Attributes:
        seconds: that the answer took.
        headers: of the answer.
    """

    session: str
    name: str
    request: dict[str, Any]
    status: int
    reason: str
    seconds: float
    headers: dict[str, str]
    body: Any


class Line(NamedTuple):
    """One line of ``kube-watch.jsonl``.

    Attributes:
        at: seconds since the start of the session.
        stream: which watch it is of; "" for notes.
        told: the rest of the line.
    """

    at: float
    session: str
    stream: str
    told: dict[str, Any]


def recorded() -> tuple[Recorded, ...]:
    """All requests and answers in their order."""
    with (_FOLDER / "kube-list.json").open() as file:
        return tuple(Recorded(**exchange) for exchange in json.load(file))


def watched(session: str) -> Iterator[Line]:
    """The lines of one session."""
    with (_FOLDER / "kube-watch.jsonl").open() as file:
        for line in map(json.loads, file):
            if line["session"] == session:
                rest = {name: line[name] for name in line if name not in {"t", "session", "watch"}}
                yield Line(line["t"], session, line.get("watch", ""), rest)


def steady(value: Any) -> Any:
    """A value without what differs from server to server: revisions, uids, times, addresses."""
    if isinstance(value, dict):
        return {name: _steady_field(value, name) for name in value}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(current: |\()\d+", r"\1N", value)
    return value


def _steady_field(parent: Mapping[str, Any], name: str) -> Any:
    value = parent[name]
    if name in _VOLATILE:
        return f"<{name}>"
    if name == "continue" and value:
        token = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        return {**token, "rv": min(token["rv"], 0)}
    if name == "metadata" and _CREATED_HERE.match(str(value.get("name", ""))):
        return {**steady(value), "created here": True}
    if name == "spec" and _CREATED_HERE.match(str(parent.get("metadata", {}).get("name", ""))):
        return {**steady(value), "clusterIP": "<address>", "clusterIPs": ["<address>"]}
    return steady(value)
