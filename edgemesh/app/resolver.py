"""The pods' resolver, on addresses that the node has only while the agent runs."""

from __future__ import annotations

from collections.abc import Callable

import trio

from edgemesh.app.added_addresses import (
    add_lacking_addresses,
    record_path,
    remove_added_addresses,
)
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.server import serve_dns
from edgemesh.proxy.dns.servers import listen_addresses


async def serve_resolver(
    settings: Settings,
    snapshot: Callable[[], Snapshot],
    counters: DnsCounters,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve DNS until cancelled; started once it answers.

    Args:
        settings: all of them.
        snapshot: gives the one in force.
        counters: counted up as things happen.
        task_status: told when questions are answered.

    Raises:
        OperatorError: an address cannot be used.

    Cancellation: the addresses that were added are taken away again.
    """
    addresses = [address for address, _ in listen_addresses(settings.dns)]
    record = record_path(settings)
    await trio.to_thread.run_sync(add_lacking_addresses, addresses, record)
    try:
        await serve_dns(
            settings.dns,
            snapshot,
            mark=settings.netfilter.own_mark,
            counters=counters,
            task_status=task_status,
        )
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await trio.to_thread.run_sync(remove_added_addresses, record)
