"""Changes that are written together come to the same as changes that are written one by one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metamanager_fixtures import Body, service
from sqlalchemy import text
from sync_messages import with_uid

from edgemesh.meta.mirror import Mirror
from edgemesh.model.reflection import Change, Resource
from edgemesh.store.store import Store

SERVICES = Resource("Service", "/api/v1/services")
_TABLES = {
    "objects": "SELECT kind, namespace, name, uid, origin, body FROM objects",
    "labels": "SELECT name, key, value FROM labels",
    "selectors": "SELECT name, key, value, size FROM selectors",
    "allocations": "SELECT value, service_uid FROM allocations",
}
NAMES, ADDRESSES = ("a", "b", "c"), ("10.96.1.1", "10.96.1.2", "None")


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One of few Services comes, changes or goes; addresses and labels are few as well."""
    name = draw(st.sampled_from(NAMES))
    address = draw(st.sampled_from(ADDRESSES))
    # Of each name there are two in turn, deleted and made anew.
    uid = f"{name}-{draw(st.integers(1, 2))}"
    selector = draw(st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2))
    body: Body = with_uid(
        service(name, clusterIP=address, clusterIPs=[address], selector=selector), uid
    )
    body["metadata"]["labels"] = draw(
        st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"), max_size=2)
    )
    body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return Change(draw(st.booleans()), body)


async def rows(store: Store) -> dict[str, list[Any]]:
    """Everything that searches go by."""

    def read(connection: Any) -> dict[str, list[Any]]:
        return {
            table: sorted(tuple(row) for row in connection.execute(text(query)))
            for table, query in _TABLES.items()
        }

    return await store.read_rows(read)


async def written(batches: list[list[Change]]) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(f"sqlite:///{Path(folder) / 'edgemesh.db'}")
        try:
            mirror = Mirror(store, 1)
            for batch in batches:
                await mirror.change(SERVICES, batch)
            return await rows(store)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await store.close()


@pytest.mark.timeout(240)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        changes(), min_size=1, max_size=6, unique_by=lambda each: each.body["metadata"]["name"]
    ),
    st.lists(changes(), max_size=6, unique_by=lambda each: each.body["metadata"]["name"]),
)
async def test_batches_come_to_what_single_changes_come_to(
    before: list[Change], after: list[Change]
) -> None:
    singly = [[change] for change in [*before, *after]]
    together = await written([before, after])
    alone = await written(singly)
    assert {**together, "allocations": []} == {**alone, "allocations": []}
    # Who was first to claim an address has it; in a batch all are deleted before any is claimed.
    assert {value for value, _ in together["allocations"]} >= {
        value for value, _ in alone["allocations"]
    }
