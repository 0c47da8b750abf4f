"""Many edge nodes in one process: run as ``python crowd_of_nodes.py CLOUD FOLDER``.

Each node of FOLDER is an edgehub of its own, with its own certificate and connection; what the
cloud sends is kept in memory. A line says that they begin. Then the process is asked by lines,
``WHAT``, and answers with JSON: which nodes have heard of an object, ``NAMESPACE/TYPE/NAME``, or
are ``synced``; when the last of them was; how many Messages have come; how many objects that node
has that has the fewest.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import trio

from edgemesh.bus.edgehub import connector
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.pki.identity import Identity
from edgemesh.bus.pki.problems import clock_now
from edgemesh.meta.sync import SYNC, SyncBegin, SyncMark
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.observe_settings import LogSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import configure_logging
from edgemesh.wire.message import Message, Operation

SYNCED = "synced"


class Heard:
    """Which nodes have heard of what.

    Attributes:
        messages: that came in all.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, set[str]] = {}
        self._last: dict[str, float] = {}
        self.messages = 0

    def note(self, node: str, what: str, now: float) -> None:
        nodes = self._nodes.setdefault(what, set())
        if node not in nodes:
            nodes.add(node)
            self._last[what] = now

    def told(self, what: str) -> dict[str, Any]:
        return {
            "nodes": list(self._nodes.get(what, ())),
            "last": self._last.get(what, 0.0),
            "messages": self.messages,
        }


class MemorySync:
    """What a node keeps of the cloud's store, in memory instead of on disk."""

    def __init__(self, node: str, heard: Heard) -> None:
        self._node = node
        self._heard = heard
        self._begun = SyncBegin("", full=False)
        self.position = SyncPosition()
        self.objects: dict[str, bytes] = {}

    async def begin(self) -> MemorySync:
        await trio.lowlevel.checkpoint()
        return self

    async def write(self, messages: Sequence[Message]) -> None:
        await trio.lowlevel.checkpoint()
        self._heard.messages += len(messages)
        now = time.monotonic()
        for message in messages:
            resource = message.route.resource
            if resource == SYNC:
                self._mark(message, now)
            elif message.route.operation == Operation.DELETE:
                self.objects.pop(resource, None)
            else:
                self.objects[resource] = bytes(message.content)
                self._heard.note(self._node, resource, now)

    def _mark(self, message: Message, now: float) -> None:
        if message.route.operation == Operation.RESPONSE:
            self._begun = msgspec.json.decode(message.content, type=SyncBegin)
            return
        mark = msgspec.json.decode(message.content, type=SyncMark)
        self.position = SyncPosition(self._begun.store, mark.revision)
        self._heard.note(self._node, SYNCED, now)


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
    # Read before anything is measured: real nodes do it at the same time, each by itself.
    made = cache(client_context)
    connector.client_context = made  # type: ignore[attr-defined]
    identities = [Identity.within(place, place.name) for place in places]
    for identity in identities:
        made(identity, clock=clock_now)
    print(json.dumps({"ready": len(identities)}), flush=True)
    heard, settings = Heard(), BusSettings(cloud=cloud)
    kept = [MemorySync(identity.node, heard) for identity in identities]
    dialler = Dialler(0, settings.dial_seconds)
    async with trio.open_nursery() as nursery:
        for identity, sync in zip(identities, kept, strict=True):
            connection = Connector(
                settings,
                identity.node,
                CloudAddress.parse(cloud),
                _Enrolled(identity),  # type: ignore[arg-type]
                dialler,
            )
            hub = Edgehub(
                settings,
                identity.node,
                connection.connect,
                sync,
                addresses=_no_links,
                chance=random.random,
            )
            nursery.start_soon(hub.run)
        await _answer(heard, kept)
        nursery.cancel_scope.cancel()


async def _answer(heard: Heard, kept: Sequence[MemorySync]) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        fewest = min(len(sync.objects) for sync in kept)
        print(json.dumps({**heard.told(line.strip()), "fewest_objects": fewest}), flush=True)


def main() -> None:
    """Run the nodes of a folder."""
    cloud, folder = sys.argv[1:]
    configure_logging(LogSettings(level="error"))
    # A real node has a heap of its own; here a thousand would be looked through for each of them.
    gc.set_threshold(100_000, 50, 100)
    trio.run(run_nodes, cloud, sorted(Path(folder).iterdir()))


if __name__ == "__main__":
    main()
