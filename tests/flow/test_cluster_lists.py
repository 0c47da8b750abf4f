"""What is pushed while a node lists, beside what the list says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from kubeedge_cloudcore import a_stamp
from kubeedge_store import FakeStore

from edgemesh.bus.edgehub.cluster_lists import ClusterLists
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.store.store import Store
from edgemesh.wire.kubeedge import answers, application
from edgemesh.wire.message import Message, Operation, ResourcePath

NODE = "edge-1"
WEB = "default/pod/web"
PATH = ResourcePath.parse(WEB)


class Lists:
    """A node's lists of a fake cluster, and its store.

    Attributes:
        cluster: what is listed.
        after_pods: called once, when the Pods have been listed and the rest has not.
        happened: set once it was.
        rounds: complete lists that are on disk.
    """

    def __init__(self, store: Store) -> None:
        self.cluster = FakeStore()
        self.cluster.put(WEB, _pod("listed"))
        self.after_pods: Callable[[], None] | None = None
        self.happened = trio.Event()
        self.rounds = 0
        self._store = store
        self._sync = Synchroniser(store)
        self._completed = trio.Condition()
        settings = BusSettings(list_seconds=0.05)
        self.lists = ClusterLists(NODE, self._ask, self._write, lambda _problem: None, settings)

    async def push(self, operation: Operation) -> None:
        """Receive a push as a session does: noted, then stored."""
        content = self.cluster.removed[WEB] if operation == Operation.DELETE else None
        content = content or self.cluster.get(WEB)
        message = answers.push(a_stamp(), operation, PATH, content, revision="1000")
        self.lists.note_push(message)
        session = await self._sync.begin()
        await session.write([message])

    async def follow(self) -> None:
        self._session = await self._sync.begin()
        await self.lists.follow()

    async def until_round(self, number: int) -> None:
        async with self._completed:
            while self.rounds < number:
                await self._completed.wait()

    async def version(self) -> str | None:
        found = await self._store.get(ObjectKey("Pod", "default", "web"))
        return found.labels["v"] if found else None

    async def _ask(self, question: Message, _seconds: float) -> Message:
        answer = self.cluster.answer(question, NODE, a_stamp(), strict=False)
        assert answer is not None
        if self.after_pods and application.read_application(question).asked_of.resource == "pods":
            self.after_pods()
            self.after_pods = None
            await self.push(Operation.UPDATE if WEB in self.cluster else Operation.DELETE)
            self.happened.set()
        return answer

    async def _write(self, messages: Sequence[Message]) -> None:
        await self._session.write(messages)
        self.rounds += 1
        async with self._completed:
            self._completed.notify_all()

    def remove(self) -> None:
        self.cluster.remove(WEB)

    def change(self) -> None:
        self.cluster.put(WEB, _pod("pushed"))


def _pod(version: str) -> dict[str, object]:
    return {"metadata": {"labels": {"v": version}}, "spec": {}}


@asynccontextmanager
async def following(lists: Lists) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.follow)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
async def lists(tmp_path: Path) -> AsyncIterator[Lists]:
    store = await Store.open(f"sqlite:///{tmp_path / 'edge.db'}")
    try:
        yield Lists(store)
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


async def versions(lists: Lists, earlier_rounds: int, happens: Callable[[], None]) -> set[object]:
    """What is on disk after each of the rounds that end once something has happened."""
    async with following(lists):
        await lists.until_round(earlier_rounds)
        lists.after_pods = happens
        await lists.happened.wait()
        seen: set[object] = set()
        for _ in range(2):
            await lists.until_round(lists.rounds + 1)
            seen.add(await lists.version())
        return seen


@pytest.mark.parametrize("earlier_rounds", [0, 1])
async def test_what_is_deleted_while_it_is_listed_stays_deleted(
    lists: Lists, earlier_rounds: int
) -> None:
    assert await versions(lists, earlier_rounds, lists.remove) == {None}


@pytest.mark.parametrize("earlier_rounds", [0, 1])
async def test_a_push_that_comes_while_it_lists_is_newer_than_the_list(
    lists: Lists, earlier_rounds: int
) -> None:
    assert await versions(lists, earlier_rounds, lists.change) == {"pushed"}


async def test_what_was_pushed_while_it_listed_and_is_not_in_the_next_list_goes(
    lists: Lists,
) -> None:
    async with following(lists):
        await lists.until_round(1)
        lists.after_pods = lists.change
        await lists.until_round(lists.rounds + 2)
        assert await lists.version() == "pushed"
        lists.remove()
        await lists.until_round(lists.rounds + 2)
        assert await lists.version() is None
