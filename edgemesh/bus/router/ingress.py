"""Ports where the router, or a node's servicebus, takes HTTP requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from edgemesh.bus.cloudhub.listening import open_listeners
from edgemesh.bus.http.messages import HttpError
from edgemesh.bus.http.server import Handler, ServerLimits, serve_requests
from edgemesh.observe.log import get_logger

_log = get_logger("router")


async def serve_http(
    setting: str,
    addresses: Sequence[str],
    handler: Handler,
    max_connections: int,
    refused: Callable[[str], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve requests until cancelled; started once all addresses are listened on.

    Args:
        setting: the name of the setting with the addresses, for messages.
        addresses: ``address:port`` or ``[address]:port``.
        handler: answers requests.
        max_connections: at a time; who comes beyond it waits.
        refused: is told of each request that was none, or did not come to its end.
        task_status: told.

    Raises:
        OperatorError: an address is malformed, not there or taken.

    Cancellation: breaks off what is under way.
    """
    places = trio.CapacityLimiter(max_connections)

    async def serve(stream: trio.SocketStream) -> None:
        async with places:
            try:
                problem = await serve_requests(stream, handler, ServerLimits())
                if problem:
                    refused(problem)
            except HttpError as error:
                # After the head of an answer was sent: it cannot be told otherwise any more.
                _log.info("an answer broke off", setting=setting, problem=str(error))

    listeners = await open_listeners(setting, addresses)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        task_status.started()
