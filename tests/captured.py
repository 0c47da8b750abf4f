"""The recorded traffic of KubeEdge, which lies beside the repository."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edgemesh.wire.message import Message, decode_message

_FOLDER = Path(__file__).parents[2] / "shared/captures"
_FILES = ("cloudhub-to-edge.jsonl", "edge-to-cloudhub.jsonl", "router.jsonl")


class Captured(NamedTuple):
    """One frame.

    Args:
        place: file and line.
        session: that it was recorded in.
        down: whether it went from the cloud to the edge.
        real: whether KubeEdge wrote it; the others are those of a Python client.
        frame: JSON values, keys in their order.
        message: the same, decoded by us.
    """

    place: str
    session: str
    down: bool
    real: bool
    frame: dict[str, Any]
    message: Message

    @property
    def content(self) -> Any:
        """The content as JSON values."""
        return self.frame.get("content")


def lines(name: str) -> Iterator[dict[str, Any]]:
    """All lines of one file."""
    with (_FOLDER / name).open() as file:
        yield from map(json.loads, file)


def pairs() -> list[dict[str, Any]]:
    """Requests to an API server and to MetaServer, each with its answer."""
    with (_FOLDER / "kube-list.json").open() as file:
        found: list[dict[str, Any]] = json.load(file)
    return found


def _read() -> Iterator[Captured]:
    for name in _FILES:
        for number, line in enumerate(lines(name), 1):
            frame = line.get("frame")
            if frame is None:
                continue
            down = line["dir"] == "cloud->edge"
            real = down or name == "edge-to-cloudhub.jsonl"
            text = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
            place = f"{name}:{number}"
            yield Captured(place, line["session"], down, real, frame, decode_message(text))


FRAMES = tuple(_read())
