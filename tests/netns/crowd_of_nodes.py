"""Many edge nodes in one process: run as ``python crowd_of_nodes.py CLOUD FOLDER``.

Each node of FOLDER is an edgehub of its own, with its own certificate and connection; what the
cloud sends is kept in memory. The process is asked by lines, ``WHAT``, and answers with JSON: how
many nodes have heard of an object of that name, or are ``synced``, and when the last of them was.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.pki.identity import Identity
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.settings import LogSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import configure_logging
from edgemesh.wire.message import Message

SYNCED = "synced"


class Heard:
    """Which nodes have heard of what.

    Attributes:
        nodes: how many, by the name of an object.
        last: when the latest of them did, on the machine's monotonic clock.
        messages: that came in all.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, set[str]] = {}
        self.last: dict[str, float] = {}
        self.messages = 0

    def note(self, node: str, name: str) -> None:
        self.nodes.setdefault(name, set()).add(node)
        self.last[name] = time.monotonic()

    def told(self, name: str) -> str:
        answer = {
            "nodes": len(self.nodes.get(name, ())),
            "last": self.last.get(name, 0.0),
            "messages": self.messages,
        }
        return json.dumps(answer)


class MemorySync:
    """What a node keeps of the cloud's store: nothing but how far it has come."""

    def __init__(self, node: str, heard: Heard) -> None:
        self._node = node
        self._heard = heard
        self.position = SyncPosition()

    async def begin(self) -> MemorySync:
        await trio.lowlevel.checkpoint()
        return self

    async def write(self, messages: Sequence[Message]) -> None:
        await trio.lowlevel.checkpoint()
        self._heard.messages += len(messages)
        for message in messages:
            resource = message.route.resource
            if resource != "all/sync":
                self._heard.note(self._node, resource.rpartition("/")[2])
            elif b'"synced":true' in bytes(message.content).replace(b" ", b""):
                self._heard.note(self._node, SYNCED)


class _Enrolled:
    """Credentials that are there already."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def ensure(self) -> Identity:
        await trio.lowlevel.checkpoint()
        return self._identity


async def _no_links(_local: str) -> tuple[str, ...]:
    await trio.lowlevel.checkpoint()
    return ()


async def run_nodes(cloud: str, places: Sequence[Path]) -> None:
    """Run all nodes, and answer questions, until the input ends."""
    heard, settings = Heard(), BusSettings(cloud=cloud)
    dialler = Dialler(0, settings.dial_seconds)
    async with trio.open_nursery() as nursery:
        for place in places:
            connector = Connector(
                settings,
                place.name,
                CloudAddress.parse(cloud),
                _Enrolled(Identity.within(place, place.name)),  # type: ignore[arg-type]
                dialler,
            )
            hub = Edgehub(
                settings,
                place.name,
                connector.connect,
                MemorySync(place.name, heard),
                addresses=_no_links,
                chance=random.random,
            )
            nursery.start_soon(hub.run)
        await _answer(heard)
        nursery.cancel_scope.cancel()


async def _answer(heard: Heard) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        print(heard.told(line.strip()), flush=True)


def main() -> None:
    """Run the nodes of a folder."""
    cloud, folder = sys.argv[1:]
    configure_logging(LogSettings(level="error"))
    trio.run(run_nodes, cloud, sorted(Path(folder).iterdir()))


if __name__ == "__main__":
    main()
