"""Two replicas as processes behind one address, one of them killed while it works."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from cloud_fixtures import until, until_asked
from postgres_cluster import Cluster, running_cluster
from reserved_ports import reserved_ports
from test_cloud_sync import service

from edgemesh.app.cloud_authority import make_token
from edgemesh.app.config import load_settings
from edgemesh.app.edgehub import CloudConnection
from edgemesh.lab.configuration import write_toml
from edgemesh.meta.client import AgentGoneError, connect
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.objects import KubeObject
from edgemesh.model.settings import Settings
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.wire.message import Operation

WRITES_BEFORE = 30
WRITES_AFTER = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


class Replica:
    """``edgemesh cloud`` as a process."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self._reserved = ExitStack()
        ports = self._reserved.enter_context(reserved_ports(3))
        self.port, self.enrolment_port, self.admin_port = ports
        self.config = self.folder / "cloud.toml"
        write_toml(
            self.config,
            {
                "": {
                    "state_dir": str(self.folder / "state"),
                    "run_dir": str(self.folder / "run"),
                },
                "cloud": {
                    "name": name,
                    "hub_listen": [f"127.0.0.1:{self.port}"],
                    "enrolment_listen": [f"127.0.0.1:{self.enrolment_port}"],
                    "rest_listen": [],
                    "names": ["localhost"],
                    "presence_seconds": 0.5,
                },
                "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
                "meta": {"store_url": url},
            },
        )
        self.settings = load_settings(self.config, environment={})

    async def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            program = [sys.executable, "-m", "edgemesh.cli.main"]
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it is started at once
                [*program, "cloud", "--config", str(self.config)], stdout=log, stderr=log
            )
        await until_asked(self.answers, 60)

    async def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", self.admin_port)
        except OSError:
            return False
        await stream.aclose()
        return True

    async def apply(self, *bodies: dict[str, Any]) -> None:
        async with connect(self.settings.socket_path, self.settings.meta) as client:
            await client.request(Operation.UPDATE, "all/all", list(bodies))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def end(self) -> None:
        with self._reserved:
            if self.process is None:
                return
            if self.process.poll() is None:
                self.process.terminate()
            self.process.wait(30)


class Balancer:
    """One address in front of replicas: each connection goes to the next that takes it."""

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)

    async def serve(self, near: trio.SocketStream) -> None:
        self._ports.append(self._ports.pop(0))
        for port in tuple(self._ports):
            try:
                far = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                continue
            async with far, trio.open_nursery() as nursery:
                nursery.start_soon(copy, near, far, nursery.cancel_scope)
                nursery.start_soon(copy, far, near, nursery.cancel_scope)
            return


async def copy(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass
    both.cancel()


@asynccontextmanager
async def node(
    folder: Path, name: str, port: int, enrolment_port: int, token: str
) -> AsyncIterator[tuple[CloudConnection, Store]]:
    own = folder / name
    own.mkdir()
    (own / "token").write_text(token)
    settings = Settings(
        node=name,
        state_dir=own,
        run_dir=own,
        bus=BusSettings(
            cloud=f"localhost:{port}",
            enrolment_port=enrolment_port,
            token_file=own / "token",
            first_retry_seconds=0.1,
            links="off",
        ),
    )
    store = await Store.open(settings.store_url, settings.meta)
    try:
        connection = CloudConnection(settings, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.edgehub.run)
            yield connection, store
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


def state(objects: list[KubeObject]) -> dict[str, Any]:
    """What is known of Services and their endpoints; revisions are each store's own."""
    return {
        str(one.key): (one.uid, one.body.get("spec"), one.body.get("endpoints"))
        for one in objects
        if one.key.kind in {"Service", "EndpointSlice"}
    }


async def until_alike(cloud: Store, stores: list[Store]) -> None:
    async def alike() -> bool:
        wanted = state(await cloud.read(Scope()))
        return all([state(await store.read(Scope())) == wanted for store in stores])

    await until_asked(alike, 60)


async def test_a_replica_is_killed_under_load_and_nothing_is_lost(
    tmp_path: Path, cluster: Cluster
) -> None:
    url = cluster.new_database()
    replicas = [Replica(tmp_path, name, url) for name in ("a", "b")]
    cloud = await Store.open(url)
    try:
        for replica in replicas:
            await replica.start()
        await run_load(tmp_path, replicas, cloud)
    finally:
        for replica in replicas:
            replica.end()
        with trio.CancelScope(shield=True):
            await cloud.close()


async def run_load(folder: Path, replicas: list[Replica], cloud: Store) -> None:
    token = await make_token(replicas[0].settings, "", None)
    async with trio.open_nursery() as nursery:
        ports = []
        for each in ("port", "enrolment_port"):
            balancer = Balancer(*(getattr(replica, each) for replica in replicas))
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports.append(listener.socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, balancer.serve, [listener])
        async with (
            node(folder, "n1", ports[0], ports[1], token) as one,
            node(folder, "n2", ports[0], ports[1], token) as two,
            node(folder, "n3", ports[0], ports[1], token) as three,
        ):
            nodes = [one, two, three]
            await write_on(replicas, 0, WRITES_BEFORE)
            await until(lambda: all(connection.edgehub.connected for connection, _ in nodes))
            async with trio.open_nursery() as writing:
                writing.start_soon(write_on, replicas, WRITES_BEFORE, WRITES_AFTER)
                await trio.sleep(random.random() / 2)
                replicas[0].kill()
            await until_alike(cloud, [store for _, store in nodes])
            # Those of the killed one may have had everything before, and be on their way yet.
            await until(lambda: all(connection.edgehub.connected for connection, _ in nodes))
            for connection, _ in nodes:
                assert not connection.status().refused
        nursery.cancel_scope.cancel()


async def write_on(replicas: list[Replica], first: int, count: int) -> None:
    """Write through whichever replica takes it; a write that failed is written again."""
    for number in range(first, first + count):
        body = service(f"s{number % 20}", 1000 + number)
        try:
            await replicas[number % 2].apply(body)
        except AgentGoneError:
            await replicas[1].apply(body)
