"""Whose calls are intercepted: what ``edgemesh get pods -o wide`` shows beside the objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgemesh.cli.tables import Column
from edgemesh.meta.client import Client
from edgemesh.meta.errors import RefusedError
from edgemesh.model.status import CallersQuestion, CallerStatus
from edgemesh.wire.message import Operation

# By namespace and name of a Pod, why it is left alone, "" where it is not.
Callers = Mapping[tuple[str, str], str]


async def ask_callers(client: Client, namespace: str) -> Callers:
    """Whose calls are intercepted; empty when the agent knows nothing of it.

    Args:
        client: connected to the agent.
        namespace: of the Pods, "" for all.
    """
    try:
        told = await client.request(Operation.QUERY, "null/callers", CallersQuestion(namespace))
    except RefusedError:
        # Whoever keeps the objects need not be the one that forwards.
        return {}
    found = msgspec.convert(told, list[CallerStatus])
    return {(one.namespace, one.pod): one.left_alone for one in found}


def caller_columns(callers: Callers) -> list[Column]:
    """Whether calls that a Pod makes are intercepted, and why not."""

    def text(body: Mapping[str, Any]) -> str:
        metadata = body["metadata"]
        why = callers.get((metadata.get("namespace", ""), metadata["name"]))
        if why is None:
            on_node = (body.get("spec") or {}).get("hostNetwork")
            return "As the node: hostNetwork" if on_node else "Unknown"
        return f"No: {why}" if why else "Yes"

    return [Column("INTERCEPTED", text)]
