"""Objects of a lab: written to its cloud, or else to every agent, and waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from edgemesh.lab import processes
from edgemesh.lab.parallel import in_parallel
from edgemesh.lab.patience import ready_seconds
from edgemesh.lab.state import Home, State
from edgemesh.meta.client import Client, connect
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

_ASK_AGAIN_SECONDS = 0.02
# Every kind in every namespace: the objects in the content tell which.
_EVERYTHING = "all/all"
_STATUS = "null/status"
_LIMITS = MetaSettings()


async def write(home: Home, state: State, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Apply objects at the cloud, or at every agent as a cloud would.

    Without a cloud the first agent gives Services their addresses, and the others get the
    Services from there: all see the same ClusterIPs.

    Raises:
        OperatorError: an object is refused, or somebody is not there.
    """
    stores = _stores(home, state)
    if not bodies or not stores:
        return
    first, *others = stores
    async with _asked(first) as client:
        await client.request(Operation.UPDATE, _EVERYTHING, list(bodies))
        complete = [await _with_addresses(client, body) for body in bodies]
    await in_parallel(partial(_update, store, complete) for store in others)


async def delete(home: Home, state: State, keys: Sequence[ObjectKey]) -> None:
    """Delete objects where they were written; one that is not there is passed over.

    Raises:
        OperatorError: somebody is not there.
    """
    if keys:
        await in_parallel(partial(_delete, store, keys) for store in _stores(home, state))


async def wait_until_current(home: Home, state: State) -> None:
    """Wait until every agent decides about new flows by everything that was written so far.

    Raises:
        OperatorError: an agent is not there, or does not get there in time.
    """
    sent = 0
    if state.hub is not None:
        async with _asked(home.hub_socket) as client:
            sent = (await client.request(Operation.QUERY, _STATUS))["store"]["revision"]
    await in_parallel(partial(_wait_until_current, home, node, sent) for node in state.agents)


def _stores(home: Home, state: State) -> list[Path]:
    """The sockets where objects are applied."""
    if state.hub is not None:
        return [home.hub_socket]
    return [home.agent_socket(node) for node in state.agents]


def _asked(socket: Path) -> AbstractAsyncContextManager[Client]:
    return connect(socket, _LIMITS)


async def _with_addresses(client: Client, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if body["kind"] != "Service":
        return body
    metadata = body["metadata"]
    resource = f"{metadata['namespace']}/service/{metadata['name']}"
    answer: Mapping[str, Any] = await client.request(Operation.QUERY, resource)
    return answer


async def _update(store: Path, bodies: Sequence[Mapping[str, Any]]) -> None:
    async with _asked(store) as client:
        await client.request(Operation.UPDATE, _EVERYTHING, list(bodies))


async def _delete(store: Path, keys: Sequence[ObjectKey]) -> None:
    async with _asked(store) as client:
        try:
            await client.request(Operation.DELETE, _EVERYTHING, _names(keys))
        except RefusedError as refused:
            if refused.code is not Code.NOT_FOUND:
                raise
            present = [key for key in keys if str(key) not in refused.objects]
            await client.request(Operation.DELETE, _EVERYTHING, _names(present))


def _names(keys: Iterable[ObjectKey]) -> list[dict[str, str]]:
    return [key._asdict() for key in keys]


async def _wait_until_current(home: Home, node: str, sent: int) -> None:
    """Wait until what has been written is intercepted and decides about new flows.

    Args:
        home: of the lab.
        node: whose agent.
        sent: revision of the cloud that it has to have, 0 without a cloud.
    """
    async with _asked(home.agent_socket(node)) as client:
        with trio.move_on_after(ready_seconds()):
            # The agent is another process: there is no event to wait for.
            while not _is_synced(await client.request(Operation.QUERY, _STATUS), sent):  # noqa: ASYNC110
                await trio.sleep(_ASK_AGAIN_SECONDS)
            written = (await client.request(Operation.QUERY, _STATUS))["store"]["revision"]
            while not _is_current(await client.request(Operation.QUERY, _STATUS), written):  # noqa: ASYNC110
                await trio.sleep(_ASK_AGAIN_SECONDS)
            return
    log = processes.last_line(home.agent_log(node))
    raise OperatorError(
        f"the agent of {node} does not use what was written {ready_seconds():g} s ago: {log}"
    )


def _is_synced(status: Mapping[str, Any], sent: int) -> bool:
    cloud = status.get("cloud")
    return not sent or (cloud is not None and cloud["connected"] and cloud["revision"] >= sent)


def _is_current(status: Mapping[str, Any], written: int) -> bool:
    interception = status["interception"]
    intercepted = not interception["enabled"] or interception["revision"] >= written
    return bool(intercepted and status["snapshot"]["revision"] >= written)
