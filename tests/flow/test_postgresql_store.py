from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres_cluster import Cluster, running_cluster
from sqlalchemy import create_engine, inspect

from edgemesh.model.objects import ChangeType, KubeObject, ObjectKey, Origin
from edgemesh.model.settings import MetaSettings
from edgemesh.store.errors import StoreError
from edgemesh.store.migrate import migrate
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.tables import Base
from edgemesh.store.transaction import Transaction
from edgemesh.wire.labelselector import parse_selector

ENOUGH = 1 << 20
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.new_database()


def put(name: str, **labels: str) -> Callable[[Transaction], KubeObject]:
    def work(transaction: Transaction) -> KubeObject:
        key = ObjectKey("Service", "default", name)
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        }
        return transaction.put(key, body, Origin.APPLIED, transaction.get(key))

    return work


def delete(name: str) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        existing = transaction.get(ObjectKey("Service", "default", name))
        assert existing is not None
        transaction.delete(existing)

    return work


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)


@asynccontextmanager
async def two_stores(url: str) -> AsyncIterator[tuple[Store, Store]]:
    stores = await Store.open(url), await Store.open(url)
    try:
        yield stores
    finally:
        for store in stores:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await store.close()


async def test_objects_are_kept_found_and_followed(url: str) -> None:
    async with two_stores(url) as (store, _):
        await store.transact(put("web", app="a"))
        await store.transact(put("db", app="b"))
        await store.transact(delete("db"))
        [found] = await store.read(Scope("Service"), parse_selector("app=a"))
        assert found.key.name == "web"
        page = await store.changes(1, Scope(), ENOUGH)
        assert [(change.type, change.object.key.name) for change in page.changes] == [
            (ChangeType.DELETE, "db")
        ]
        names, _ = await store.transact(
            lambda transaction: transaction.services_selecting("default", {"app": "a", "x": "y"})
        )
        assert names == ["web"]


async def test_a_replica_hears_at_once_of_what_another_has_written(url: str) -> None:
    async with two_stores(url) as (ours, theirs), trio.open_nursery() as nursery:
        heard: list[str] = []
        theirs.on_notice(heard.append)
        await nursery.start(theirs.follow, 3600, heard.append)
        for number in range(1, 6):
            await ours.transact(put(f"s{number}"))
            with trio.fail_after(PATIENCE_SECONDS):
                await theirs.wait_beyond(number - 1)
            assert theirs.revision == number
        assert ours.uid == theirs.uid
        # It may have looked before it heard.
        await until(lambda: "revision 5" in heard)
        nursery.cancel_scope.cancel()


async def test_what_nobody_has_told_is_found_by_looking(url: str, cluster: Cluster) -> None:
    async with two_stores(url) as (ours, theirs), trio.open_nursery() as nursery:
        warnings: list[str] = []
        await nursery.start(theirs.follow, 0.1, warnings.append)
        cluster.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        )
        await ours.transact(put("web"))
        with trio.fail_after(PATIENCE_SECONDS):
            await theirs.wait_beyond(0)
        await until(lambda: bool(warnings))
        # And it listens again.
        await ours.transact(put("web2"))
        with trio.fail_after(PATIENCE_SECONDS):
            await theirs.wait_beyond(1)
        nursery.cancel_scope.cancel()


async def test_writers_on_several_replicas_never_share_a_revision(url: str) -> None:
    stores = [await Store.open(url) for _ in range(3)]
    changed: list[int] = []

    async def write(store: Store, who: str) -> None:
        for number in range(20):
            _, changes = await store.transact(put(f"{who}-{number}"))
            changed.extend(change.object.resource_version for change in changes)

    async with trio.open_nursery() as nursery:
        for index, store in enumerate(stores):
            nursery.start_soon(write, store, f"w{index}")
    assert sorted(changed) == list(range(1, 61))
    for store in stores:
        await store.close()


async def test_replicas_that_start_at_once_make_the_tables_once(url: str) -> None:
    stores: list[Store] = []

    async def start() -> None:
        stores.append(await Store.open(url))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start)
    assert len({store.uid for store in stores}) == 1
    for store in stores:
        await store.close()


def test_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert inspect(connection).has_table("mailbox")
    engine.dispose()


async def test_a_server_that_is_not_there_is_one_error_without_the_password(
    url: str,
) -> None:
    with pytest.raises(StoreError) as refused:
        await Store.open("postgresql://tester:canary@127.0.0.1:1/x", MetaSettings())
    assert "canary" not in str(refused.value)
