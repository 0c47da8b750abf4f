"""Whatever has happened, and gone wrong, in the end the store has what the server has.

As in test_reflector_histories, but down to the database; and the follower is ended at times, and
started again with what it had stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from apiserver.front import Front
from reflector_fixtures import memory_access
from reflector_histories import RESOURCES, SETTINGS, SETTLING_SECONDS, History, expected

from edgemesh.cloud.controller import Controller
from edgemesh.meta.mirror import Mirror
from edgemesh.model.kinds import KINDS as KNOWN
from edgemesh.model.kinds import find_kind
from edgemesh.model.objects import Origin
from edgemesh.model.reflection import Resource
from edgemesh.policy.mirrored import kept
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store

KINDS = [kind for kind in KNOWN if kind.name in {each.kind for each in RESOURCES}]
MOST_RESTARTS = 3


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps would not wait for what a thread writes."""

    async def run_here(work: Callable[..., Any], *args: Any, **_named: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_here)


def unversioned(body: Any) -> dict[str, Any]:
    metadata = {name: each for name, each in body["metadata"].items() if name != "resourceVersion"}
    return {**body, "metadata": metadata}


def served(server: Front, resource: Resource) -> dict[str, Any]:
    kind = find_kind(resource.kind)
    assert kind is not None
    return {
        name.name: unversioned(kept(kind, body))
        for name, body in expected(server, resource).items()
    }


async def stored(store: Store, resource: Resource) -> dict[str, Any]:
    found = await store.read(Scope(resource.kind))
    assert all(one.origin is Origin.SYNCED for one in found)
    return {one.key.name: unversioned(one.body) for one in found}


@asynccontextmanager
async def mirrored(
    history: History, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store that everything reaches, with what was there before."""
    store = await Store.open(f"sqlite:///{folder / 'edgemesh.db'}")
    try:
        async with (
            memory_access(history.server, SETTINGS, monkeypatch) as access,
            trio.open_nursery() as nursery,
        ):
            chance = history.chance.random
            controller = Controller(
                access, Mirror(store, 1.0), SETTINGS, chance, lambda: "", kinds=KINDS
            )
            nursery.start_soon(controller.run)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await store.close()


async def play(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(number)
    folder.mkdir()  # noqa: ASYNC240 - a folder of this test's own
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.run)
        for _ in range(history.chance.randint(0, MOST_RESTARTS)):
            async with mirrored(history, folder, monkeypatch):
                await trio.sleep(history.chance.uniform(0, 5 * history.longest))
            history.server.manners.begin_again()
        async with mirrored(history, folder, monkeypatch) as store:
            await history.over.wait()
            await settle(history, store, number)
    assert history.server.violations == [], f"history {number}"


async def settle(history: History, store: Store, number: int) -> None:
    """Wait until the store has what the server has, and see that it stays so."""
    end = trio.current_time() + SETTLING_SECONDS
    for resource in RESOURCES:
        while (found := await stored(store, resource)) != served(history.server, resource):
            assert trio.current_time() < end, f"history {number}: {found}"
            await trio.sleep(1)
    # And nothing that comes late undoes it.
    await trio.sleep(history.longest)
    for resource in RESOURCES:
        found = await stored(store, resource)
        assert found == served(history.server, resource), f"history {number}"


async def test_a_few_histories_end_with_what_the_server_has_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    for number in range(2000, 2004):
        await play(number, tmp_path / str(number), monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("first", range(0, 1000, 100))
async def test_a_thousand_histories_end_with_what_the_server_has_in_the_store(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    for number in range(first, first + 100):
        await play(number, tmp_path / str(number), monkeypatch)
