"""Addresses that the node has only while the agent runs, and a record of them on disk.

The record tells the next agent, and the guard, what an agent that was killed has left behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from edgemesh.kernel.addresses import add_address, remove_address
from edgemesh.model.settings import Settings


def record_path(settings: Settings) -> Path:
    """Where the record lies."""
    return settings.run_dir / "addresses.json"


def add_lacking_addresses(addresses: Iterable[str], record: Path) -> None:
    """Add those that the node lacks; what a killed agent has left counts as added by us.

    Raises:
        OperatorError: the kernel refuses an address.
    """
    left = json.loads(record.read_text()) if record.exists() else []
    added = [address for address in addresses if add_address(address) or address in left]
    for address in set(left) - set(added):
        remove_address(address)
    record.write_text(json.dumps(added))


def remove_added_addresses(record: Path) -> None:
    """Take away what is recorded; nothing happens when nothing is.

    Raises:
        OperatorError: the kernel refuses.
    """
    if not record.exists():
        return
    for address in json.loads(record.read_text()):
        remove_address(address)
    record.unlink()
