"""What tests of the router share: rules in a real store, nodes that record what they are sent."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from edgemesh.bus.http.messages import Request, Response
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.bus.router.outcomes import RuleOutcomes
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.model.settings import ManifestLimits
from edgemesh.store.router import RouterStore
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.manifest import read_manifest
from edgemesh.wire.message import Message, Stamp

REAL = Path(__file__).parents[2] / "shared/manifests/kubeedge-router"


def stamps() -> Callable[[], Stamp]:
    """Ids ``id-1``, ``id-2``, ... at one moment."""
    numbers = itertools.count(1)
    return lambda: Stamp(f"id-{next(numbers)}", 1795330433237)


def rule_body(
    name: str,
    source: str,
    target: str,
    at_source: dict[str, str],
    at_target: dict[str, str],
    **annotations: str,
) -> dict[str, Any]:
    return {
        "apiVersion": "rules.kubeedge.io/v1",
        "kind": "Rule",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {
                f"rules.edgemesh.io/{key}": value for key, value in annotations.items()
            },
        },
        "spec": {
            "source": source,
            "sourceResource": at_source,
            "target": target,
            "targetResource": at_target,
        },
    }


def real_bodies() -> list[dict[str, Any]]:
    """KubeEdge's own examples."""
    return [
        dict(one.body)
        for path in sorted(REAL.glob("rule*.yaml"))
        for one in read_manifest(path.read_bytes(), path.name, ManifestLimits())
    ]


async def put(store: Store, *bodies: dict[str, Any]) -> None:
    """Store objects as they are."""

    def write(transaction: Transaction) -> None:
        for body in bodies:
            metadata = body["metadata"]
            key = ObjectKey(body["kind"], metadata.get("namespace", "default"), metadata["name"])
            named = {**body, "metadata": {**metadata, "namespace": key.namespace}}
            transaction.put(key, named, Origin.APPLIED, transaction.get(key))

    await store.transact(write)


async def remove(store: Store, kind: str, name: str) -> None:
    """Delete an object."""

    def write(transaction: Transaction) -> None:
        found = transaction.get(ObjectKey(kind, "default", name))
        assert found is not None
        transaction.delete(found)

    await store.transact(write)


class FakeNodes:
    """Nodes that answer as they are told; what they are sent is kept.

    Attributes:
        sent: node and Message, in their order.
        answers: makes the answer of a node, by its name; a node that is not there is away.
        streams: to applications, by node.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.answers: dict[str, Callable[[Message], Message | None]] = {}
        self.streams: dict[str, Callable[[], Awaitable[trio.abc.Stream]]] = {}

    async def tell(self, node: str, message: Message) -> None:
        if node not in self.answers:
            raise NodeAwayError(f"node {node} is not connected")
        self.sent.append((node, message))

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        await self.tell(node, message)
        answer = self.answers[node](message)
        if answer is None:
            await trio.sleep(seconds)
            raise NodeSilentError(f"node {node} did not answer in {seconds:g} s")
        return answer

    async def open_servicebus(self, node: str, port: int, seconds: float) -> trio.abc.Stream | None:
        del port, seconds
        return await self.streams[node]() if node in self.streams else None


class Book:
    """A rulebook over a store, and what is counted of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tables = RouterStore(store, max_errors=10, max_deleted=10)
        self.rules = Rulebook(store, 100_000, self.tables.keep)
        self.outcomes = RuleOutcomes(self.tables.count)
        self._changes = 0
        self._changed = trio.Event()
        self.rules.on_change(self._note)

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def apply(self, *bodies: dict[str, Any]) -> None:
        """Store objects, and wait until the rules are those."""
        changed = self._changed
        await put(self.store, *bodies)
        await changed.wait()

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object, and wait until the rules are without it."""
        changed = self._changed
        await remove(self.store, kind, name)
        await changed.wait()


@asynccontextmanager
async def open_book(directory: Path, *bodies: dict[str, Any]) -> AsyncIterator[Book]:
    """A rulebook that follows a store of its own with these objects."""
    store = await Store.open(f"sqlite:///{directory / 'router.db'}")
    try:
        await put(store, *bodies)
        book = Book(store)
        async with trio.open_nursery() as nursery:
            await nursery.start(book.rules.run)
            yield book
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await store.close()


class Answers:
    """Takes a response, with its whole body."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = b""

    async def respond(self, response: Response) -> None:
        assert self.response is None
        self.response = response
        self.body = b"".join([part async for part in response.body])

    @property
    def status(self) -> int:
        assert self.response is not None
        return self.response.status

    def field(self, name: str) -> list[str]:
        assert self.response is not None
        return [value for own, value in self.response.fields if own.lower() == name.lower()]


async def asked(handler: Callable[..., Awaitable[None]], request: Request) -> Answers:
    """What a handler answers."""
    answers = Answers()
    await handler(request, answers.respond)
    return answers
