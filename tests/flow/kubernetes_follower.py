"""A process that follows an API server as an agent does, and tells what that has cost.

Run: ``python tests/flow/kubernetes_follower.py URL FOLDER SERVICES GENERATION``. A line of JSON
comes when it is about to follow, one when so many Services are served, and one when all of them
have the annotation ``generation`` with that value.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import msgspec
import trio

from edgemesh.app.follow import Follower
from edgemesh.app.kubernetes import KubernetesConnection
from edgemesh.meta.server import Metamanager
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.observe.metrics.process import memory_bytes
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store


def tell(what: str) -> None:
    gc.collect()
    peak = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    found = {
        "what": what,
        "seconds": time.monotonic(),
        "cpu": time.process_time(),
        "resident": memory_bytes()[1],
        "peak": peak,
    }
    print(msgspec.json.encode(found).decode(), flush=True)


async def main(url: str, folder: str, services: int, generation: str) -> None:
    settings = Settings(node="edge-1", kubernetes=KubernetesSettings(server=url))
    store = await Store.open(f"sqlite:///{folder}/edgemesh.db", settings.meta)
    follower = Follower(settings)
    connection = KubernetesConnection(settings, store, follower)
    served = trio.Event()

    def take(snapshot: Snapshot) -> None:
        if len(snapshot.services) >= services:
            served.set()

    follower.on_snapshot(take)
    follower.on_snapshot(connection.swap)
    async with trio.open_nursery() as nursery:
        feed = Metamanager(store, settings.meta).subscribe_changes()
        await nursery.start(follower.run, feed)
        tell("begins")
        await nursery.start(connection.run)
        await served.wait()
        tell("listed")
        while not await applied(store, services, generation):
            await store.wait_beyond(store.revision)
        await follower.reached(store.revision)
        tell("applied")
        nursery.cancel_scope.cancel()
    await store.close()


async def applied(store: Store, services: int, generation: str) -> bool:
    """Whether the last Service that is changed was; then all are."""
    last = await store.get(ObjectKey("Service", "default", f"svc-{services - 1}"))
    annotations = last.body["metadata"].get("annotations") or {} if last else {}
    if annotations.get("generation") != generation:
        return False
    stored = await store.read(Scope("Service"))
    return all(
        (one.body["metadata"].get("annotations") or {}).get("generation") == generation
        for one in stored
    )


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
