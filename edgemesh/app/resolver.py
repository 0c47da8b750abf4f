"""The pods' resolver, on addresses that the node has only while the agent runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from edgemesh.kernel.addresses import add_address, remove_address
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.proxy.dns.server import serve_dns
from edgemesh.proxy.dns.servers import listen_addresses


async def serve_resolver(
    settings: Settings,
    snapshot: Callable[[], Snapshot],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve DNS until cancelled; started once it answers.

    Raises:
        OperatorError: an address cannot be used.

    Cancellation: the addresses that were added are taken away again.
    """
    addresses = [address for address, _ in listen_addresses(settings.dns)]
    record = settings.run_dir / "addresses.json"
    added = await trio.to_thread.run_sync(_add, addresses, record)
    try:
        await serve_dns(
            settings.dns, snapshot, mark=settings.netfilter.own_mark, task_status=task_status
        )
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await trio.to_thread.run_sync(partial(_remove, added, record))


def _add(addresses: list[str], record: Path) -> list[str]:
    """Add what the node lacks; what an agent that was killed has left counts as added by us."""
    left = json.loads(record.read_text()) if record.exists() else []
    added = [address for address in addresses if add_address(address) or address in left]
    for address in set(left) - set(added):
        remove_address(address)
    record.write_text(json.dumps(added))
    return added


def _remove(addresses: list[str], record: Path) -> None:
    for address in addresses:
        remove_address(address)
    record.unlink(missing_ok=True)
