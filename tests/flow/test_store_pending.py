"""Rows that wait within a transaction come to what single statements would come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.model.settings import MetaSettings
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction

WEB = ObjectKey("Service", "default", "web")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path / 'edgemesh.db'}", MetaSettings())
    yield opened
    await opened.close()


def put(transaction: Transaction, port: int, *values: str) -> KubeObject:
    """Put a Service, look who has the values, and give them to it."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": WEB.name, "namespace": WEB.namespace},
        "spec": {"ports": [{"port": port}]},
    }
    service = transaction.put(WEB, body, Origin.SYNCED, transaction.get(WEB))
    for value in values:
        transaction.owner_of(value)
    transaction.allocate(service, values)
    return service


async def test_a_service_that_comes_and_goes_in_one_transaction_leaves_nothing(
    store: Store,
) -> None:
    def work(transaction: Transaction) -> None:
        transaction.delete(put(transaction, 80, "10.96.0.1"))

    await store.transact(work)
    assert await store.get(WEB) is None
    owner, _ = await store.transact(lambda transaction: transaction.owner_of("10.96.0.1"))
    assert owner is None


async def test_the_last_of_a_services_addresses_in_one_transaction_are_its_own(
    store: Store,
) -> None:
    def work(transaction: Transaction) -> None:
        put(transaction, 80, "10.96.0.1")
        put(transaction, 81, "10.96.0.2")

    await store.transact(work)

    def owners(transaction: Transaction) -> list[ObjectKey | None]:
        return [transaction.owner_of(value) for value in ("10.96.0.1", "10.96.0.2")]

    found, _ = await store.transact(owners)
    assert found == [None, WEB]
