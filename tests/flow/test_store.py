"""The store keeps what it acknowledged, and nothing that it did not."""

from __future__ import annotations

import itertools
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trio
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from metamanager_fixtures import config_map
from sqlalchemy import Connection, create_engine, inspect, text

from edgemesh.model.objects import ChangeType, KubeObject, ObjectKey, Origin
from edgemesh.model.settings import MetaSettings
from edgemesh.store.engine import open_engines
from edgemesh.store.errors import StoreError
from edgemesh.store.migrate import HEAD, migrate
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.tables import Base
from edgemesh.store.transaction import Transaction
from edgemesh.wire.labelselector import parse_selector

ENOUGH = 1 << 20


def url(directory: Path) -> str:
    return f"sqlite:///{directory / 'edgemesh.db'}"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(url(tmp_path), MetaSettings(history=10))
    yield opened
    await opened.close()


def key(name: str) -> ObjectKey:
    return ObjectKey("ConfigMap", "default", name)


def put(name: str, **data: str) -> Callable[[Transaction], KubeObject]:
    """A piece of work that puts one object."""
    return lambda transaction: transaction.put(
        key(name), config_map(name, **data), Origin.APPLIED, transaction.get(key(name))
    )


def delete(name: str) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        existing = transaction.get(key(name))
        assert existing
        transaction.delete(existing)

    return work


async def test_an_object_is_given_identity_time_and_revision(store: Store) -> None:
    _, [change] = await store.transact(put("a", x="1"))
    one = change.object
    assert (change.type, one.resource_version, store.revision) == (ChangeType.INSERT, 1, 1)
    metadata = one.body["metadata"]
    assert metadata["uid"] == one.uid
    assert metadata["resourceVersion"] == "1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert await store.get(key("a")) == one


async def test_identity_outlives_changes_and_not_the_object(store: Store) -> None:
    first, _ = await store.transact(put("a", x="1"))
    second, [change] = await store.transact(put("a", x="2"))
    assert change.type is ChangeType.UPDATE
    assert (second.uid, second.resource_version) == (first.uid, 2)
    await store.transact(delete("a"))
    third, _ = await store.transact(put("a", x="2"))
    assert third.uid != first.uid
    assert third.resource_version == 4


async def test_an_equal_object_is_no_change(store: Store) -> None:
    first, _ = await store.transact(put("a", x="1"))
    again, changes = await store.transact(put("a", x="1"))
    assert (again, changes, store.revision) == (first, [], 1)


async def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        put("a")(transaction)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.transact(work)
    assert (await store.read(Scope()), store.revision) == ([], 0)
    await store.transact(put("b"))
    assert store.revision == 1


async def test_fifty_writers_at_once_lose_nothing(store: Store) -> None:
    async def write(number: int) -> None:
        for turn in range(4):
            await store.transact(put(f"w{number}-{turn}"))
            await store.transact(put("shared", last=f"{number}-{turn}"))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(write, number)
    found = await store.read(Scope("ConfigMap"))
    assert len(found) == 201
    versions = {one.resource_version for one in found}
    assert len(versions) == 201
    assert max(versions) == store.revision == 400


async def test_objects_are_found_by_label_selectors(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        for name, labels in {
            "a": {"app": "web", "tier": "front"},
            "b": {"app": "web", "tier": "back"},
            "c": {"app": "db"},
            "d": None,
        }.items():
            body = config_map(name)
            body["metadata"]["labels"] = labels
            transaction.put(key(name), body, Origin.APPLIED, None)

    await store.transact(work)

    async def names(selector: str) -> str:
        found = await store.read(Scope("ConfigMap", "default"), parse_selector(selector))
        return "".join(one.key.name for one in found)

    assert await names("") == "abcd"
    assert await names("app=web") == "ab"
    assert await names("app in (web,db),tier") == "ab"
    assert await names("app!=web") == "cd"
    assert await names("app,tier!=back") == "ac"
    assert await names("!app") == "d"
    assert await names("app=web,tier=front") == "a"


async def test_labels_that_change_are_found_by_their_new_values(store: Store) -> None:
    for value in ("old", "new"):
        body = config_map("a")
        body["metadata"]["labels"] = {"app": value}
        await store.transact(
            lambda tx, body=body: tx.put(key("a"), body, Origin.APPLIED, tx.get(key("a")))
        )
    assert not await store.read(Scope(), parse_selector("app=old"))
    assert len(await store.read(Scope(), parse_selector("app=new"))) == 1


async def test_changes_come_in_order_each_object_once_deletions_too(store: Store) -> None:
    for work in (put("a"), put("b"), put("c"), put("a", x="1"), delete("b")):
        await store.transact(work)
    page = await store.changes(1, Scope("ConfigMap"), ENOUGH)
    assert [(change.type.value, change.object.key.name) for change in page.changes] == [
        ("insert", "c"),
        ("update", "a"),
        ("delete", "b"),
    ]
    assert page.complete
    listed = await store.changes(0, Scope(), ENOUGH)
    assert [change.object.key.name for change in listed.changes] == ["c", "a"]
    assert not (await store.changes(1, Scope("Pod"), ENOUGH)).changes


async def test_a_page_is_cut_at_its_budget_and_the_next_one_goes_on(store: Store) -> None:
    await store.transact(lambda tx: [put(f"n{number}", x="y" * 1000)(tx) for number in range(5)])
    since, sizes = 0, []
    while True:
        page = await store.changes(since, Scope(), 2000)
        sizes.append(len(page.changes))
        since = page.changes[-1].object.resource_version
        if page.complete:
            break
    assert sizes == [2, 2, 1]


async def test_old_deletions_are_forgotten_and_the_floor_tells(store: Store) -> None:
    await store.transact(put("a"))
    await store.transact(delete("a"))
    assert (await store.changes(1, Scope(), ENOUGH)).floor == 0
    for number in range(12):
        await store.transact(put("b", x=str(number)))
    page = await store.changes(1, Scope(), ENOUGH)
    assert [change.object.key.name for change in page.changes] == ["b"]
    assert page.floor == 4


async def test_everything_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    for turn in range(3):
        store = await Store.open(url(tmp_path))
        assert store.revision == turn
        await store.transact(put(f"t{turn}"))
        assert len(await store.read(Scope())) == turn + 1
        await store.close()


def test_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    engine = create_engine(url(tmp_path))
    with engine.begin() as connection:
        migrate(connection)
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        migrated = schema(connection)
    engine.dispose()
    assert differences == []
    (tmp_path / "new").mkdir()
    engines = open_engines(url(tmp_path / "new"))
    try:
        with engines.reader.connect() as connection:
            assert schema(connection) == migrated
    finally:
        engines.dispose()


def schema(connection: Connection) -> dict[str, object]:
    """Tables as the database tells of them, and what is in those that are never empty."""
    found = inspect(connection)
    tables: dict[str, object] = {
        name: (
            found.get_columns(name),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(map(str, found.get_indexes(name))),
            sorted(map(str, found.get_foreign_keys(name))),
            sorted(map(str, found.get_unique_constraints(name))),
            sorted(check["sqltext"] for check in found.get_check_constraints(name)),
        )
        for name in found.get_table_names()
        if name != "alembic_version"
    }
    for name in ("alembic_version", "revision"):
        tables[f"rows of {name}"] = connection.execute(text(f"SELECT * FROM {name}")).all()
    return {name: str(table) for name, table in tables.items()}


def test_the_code_knows_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(files("edgemesh.store") / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_sqlite_writes_a_log_and_syncs_it_at_each_commit(tmp_path: Path) -> None:
    engines = open_engines(url(tmp_path))
    try:
        with engines.writer.connect() as connection:

            def pragma(name: str) -> Any:
                return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

            assert pragma("journal_mode") == "wal"
            assert pragma("synchronous") == 2  # FULL
            assert pragma("foreign_keys") == 1
    finally:
        engines.dispose()
    assert (tmp_path / "edgemesh.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["not a database" * 100, "truncated", "scribbled"])
async def test_a_damaged_file_is_set_aside_and_a_new_one_started(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "edgemesh.db"
    store = await Store.open(url(tmp_path))
    await store.transact(lambda tx: [put(f"n{number}", x="y" * 500)(tx) for number in range(50)])
    await store.close()
    whole = path.read_bytes()
    ruined = {
        "truncated": whole[: len(whole) // 2],
        "scribbled": whole[:4096] + b"\xa5" * 40000 + whole[44096:],
    }.get(damage, damage.encode())
    path.write_bytes(ruined)

    store = await Store.open(url(tmp_path))
    assert store.quarantined
    assert store.quarantined.read_bytes() == ruined
    await store.transact(put("new"))
    await store.close()
    again = await Store.open(url(tmp_path))
    assert again.quarantined is None
    assert [one.key.name for one in await again.read(Scope())] == ["new"]
    await again.close()


async def test_a_file_of_less_than_a_page_is_not_taken_for_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "edgemesh.db"
    store = await Store.open(url(tmp_path))
    await store.close()
    path.write_bytes(path.read_bytes()[:1000])
    store = await Store.open(url(tmp_path))
    assert store.quarantined
    await store.close()


async def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad, named in (
        (f"sqlite:///{tmp_path}/file/edgemesh.db", "file"),
        ("nonsense", "nonsense"),
        ("nosuchdatabase://host/x", "nosuchdatabase"),
        (f"sqlite:///{tmp_path}", str(tmp_path)),
    ):
        with pytest.raises(StoreError, match=re.escape(named)):
            await Store.open(bad)


ACKNOWLEDGE = """
import sys, trio
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.store.store import Store

async def main():
    store = await Store.open(sys.argv[1])
    number = 0
    while True:
        key = ObjectKey("ConfigMap", "default", f"n{number}")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key.name}}
        await store.transact(lambda tx: tx.put(key, body, Origin.APPLIED, None))
        print(number, flush=True)
        number += 1

trio.run(main)
"""


def acknowledged_until_killed(directory: Path) -> list[int]:
    command = [sys.executable, "-c", ACKNOWLEDGE, url(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        acknowledged = [int(line) for line in itertools.islice(writer.stdout, 100)]
        writer.kill()
        return acknowledged + [int(line) for line in writer.stdout if line.endswith("\n")]


async def test_a_kill_loses_no_acknowledged_write(tmp_path: Path) -> None:
    acknowledged = await trio.to_thread.run_sync(acknowledged_until_killed, tmp_path)
    store = await Store.open(url(tmp_path))
    assert store.quarantined is None
    names = {one.key.name for one in await store.read(Scope())}
    assert {f"n{number}" for number in acknowledged} <= names
    assert len(acknowledged) >= 100
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.root
async def test_a_full_disk_refuses_writes_and_recovers_by_itself(small_disk: Path) -> None:
    store = await Store.open(url(small_disk))
    await store.transact(put("kept"))
    fill(small_disk / "filler")
    big = put("big", x="y" * 1_000_000)
    with pytest.raises(StoreError, match=r"write refused: .*full.*free some space"):
        await store.transact(big)
    assert await store.get(key("kept"))
    assert (await store.get(key("big")), store.revision) == (None, 1)
    (small_disk / "filler").unlink()
    await store.transact(put("after", x="y" * 10_000))
    assert store.revision == 2
    await store.close()


async def test_a_database_that_another_process_holds_is_waited_for(
    store: Store, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "edgemesh.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.transact, put("a"))
            assert await store.get(key("a")) is None
            other.execute("COMMIT")
    other.close()
    assert await store.get(key("a"))
