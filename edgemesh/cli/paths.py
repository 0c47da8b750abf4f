"""The paths of Services: what ``edgemesh get services -o wide`` shows beside the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgemesh.cli.tables import Column
from edgemesh.meta.client import Client
from edgemesh.meta.errors import RefusedError
from edgemesh.model.paths import PathStatus
from edgemesh.model.services import ServiceName
from edgemesh.model.status import ServicesQuestion
from edgemesh.wire.message import Operation

Paths = Mapping[ServiceName, Sequence[PathStatus]]


async def ask_paths(client: Client, namespace: str) -> Paths:
    """The paths of Service ports by Service; empty when the agent knows nothing of paths.

    Args:
        client: connected to the agent.
        namespace: of the Services, "" for all.
    """
    question = ServicesQuestion(namespace)
    try:
        told = await client.request(Operation.QUERY, "null/paths", question)
    except RefusedError:
        # Whoever keeps the objects need not be the one that forwards.
        return {}
    paths: dict[ServiceName, list[PathStatus]] = {}
    for one in msgspec.convert(told, list[PathStatus]):
        paths.setdefault((one.namespace, one.service), []).append(one)
    return paths


def path_columns(paths: Paths) -> list[Column]:
    """Which path calls take, and why."""

    def of(body: Mapping[str, Any]) -> Sequence[PathStatus]:
        metadata = body["metadata"]
        return paths.get((metadata.get("namespace", ""), metadata["name"]), ())

    return [
        Column("PATH", lambda body: _shown([(one, one.path or "-") for one in of(body)], ",")),
        Column("WHY", lambda body: _shown([(one, one.reason) for one in of(body)], ", ")),
    ]


def _shown(told: Sequence[tuple[PathStatus, str]], comma: str) -> str:
    """What there is to tell of each port, or once what is the same for all."""
    texts = dict.fromkeys(text for _, text in told)
    if len(texts) <= 1:
        return "".join(texts)
    return comma.join(f"{one.port}/{one.transport}:{text}" for one, text in told)
