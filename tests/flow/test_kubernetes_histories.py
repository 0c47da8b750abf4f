"""Whatever has happened, and gone wrong, in the end the store has what the server has.

As in test_reflector_histories, but of all that is followed, down to the database; and the follower
is ended and started again at times, with what it had stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from reflector_fixtures import URL, memory_access
from reflector_histories import RESOURCES, History

from edgemesh.cloud.controller import Controller
from edgemesh.meta.mirror import Mirror
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import Settings
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store

SETTINGS = KubernetesSettings(server=URL, page_objects=3, batch_objects=4, missing_seconds=300.0)
# Beyond all pauses, watches and lists that there are.
SETTLING_SECONDS = 3600.0
LOOK_SECONDS = 5.0
MOST_STARTS = 4
Result = TypeVar("Result")


@pytest.fixture
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps does not see threads: it would take a write for silence."""

    async def at_once(work: Callable[..., Result], *arguments: Any, **_options: Any) -> Result:
        await trio.lowlevel.checkpoint()
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


@asynccontextmanager
async def following(
    history: History, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store that everything reaches, with what was there before."""
    meta = Settings().meta
    store = await Store.open(f"sqlite:///{folder / 'edgemesh.db'}", meta)
    async with memory_access(history.server, SETTINGS, monkeypatch) as access:
        mirror = Mirror(store, meta.read_retry_seconds)
        controller = Controller(access, mirror, SETTINGS, history.chance.random, lambda: "")
        async with trio.open_nursery() as nursery:
            await nursery.start(controller.run)
            yield store
            nursery.cancel_scope.cancel()
        assert mirror.refused == {}
    await store.close()


async def stored(store: Store) -> dict[ObjectKey, Any]:
    """What tells one version of an object from another, of each that is stored."""
    found = [one for each in RESOURCES for one in await store.read(Scope(each.kind))]
    return {one.key: one.body["metadata"].get("labels") for one in found}


def served(history: History) -> dict[ObjectKey, Any]:
    """The same, of each that the server has."""
    return {
        ObjectKey(each.kind, namespace, name): body["metadata"].get("labels")
        for each in RESOURCES
        for (namespace, name), body in history.server.objects(each.path).items()
    }


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    # Of a store that somebody else writes there is no event of this.
    with trio.move_on_after(SETTLING_SECONDS):
        while not await is_so():  # noqa: ASYNC110
            await trio.sleep(LOOK_SECONDS)


async def play(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(number)

    async def is_equal() -> bool:
        return await stored(store) == served(history)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.run)
        for _ in range(history.chance.randrange(MOST_STARTS)):
            async with following(history, folder, monkeypatch):
                await trio.sleep(history.chance.uniform(0, 5 * history.longest))
        async with following(history, folder, monkeypatch) as store:
            await history.over.wait()
            await until(is_equal)
            assert await stored(store) == served(history), f"history {number}"
            # And nothing that comes late undoes it.
            await trio.sleep(history.longest)
            assert await is_equal(), f"history {number}"
    assert history.server.violations == [], f"history {number}"


async def play_some(numbers: range, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in numbers:
        own = folder / str(number)
        own.mkdir()
        await play(number, own, monkeypatch)


@pytest.mark.usefixtures("_no_threads")
async def test_a_few_histories_end_with_what_the_server_has_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    await play_some(range(3), tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("_no_threads")
@pytest.mark.parametrize("first", range(0, 1000, 100))
async def test_a_thousand_histories_end_with_what_the_server_has_in_the_store(
    first: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.abc.Clock,
) -> None:
    await play_some(range(first, first + 100), tmp_path, monkeypatch)
