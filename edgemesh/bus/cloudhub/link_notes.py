"""How nodes are reached, noted on their Nodes: what comes meanwhile is written at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction

# Puts whole objects into the store as ``edgemesh apply`` does.
Apply = Callable[[Transaction, list[dict[str, Any]]], object]


class LinkNotes:
    """Writes annotations of Nodes, all that wait in one transaction: a thousand nodes may join.

    Args:
        store: of the cloud.
        apply: writes objects, within a transaction.
    """

    def __init__(self, store: Store, apply: Apply) -> None:
        self._store = store
        self._apply = apply
        self._waiting: list[_Note] = []
        self._come = trio.Event()

    async def note(self, node: str, annotations: Mapping[str, str]) -> None:
        """Add annotations to a node's Node, made if there is none; returns when it is done.

        Raises:
            OperatorError: the store refuses, or they are not valid.
        """
        note = _Note(node, annotations)
        self._waiting.append(note)
        self._come.set()
        await note.done.wait()
        if note.problem is not None:
            raise note.problem

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._come.wait()
            self._come = trio.Event()
            notes, self._waiting = self._waiting, []
            await self._write(notes)

    async def _write(self, notes: Sequence[_Note]) -> None:
        def work(transaction: Transaction) -> None:
            for note in notes:
                self._annotate(transaction, note)

        try:
            await self._store.transact(work)
        except OperatorError as problem:
            if len(notes) > 1:
                # Only those that are to blame are to hear of it.
                for note in notes:
                    await self._write([note])
                return
            notes[0].problem = problem
        for note in notes:
            note.done.set()

    def _annotate(self, transaction: Transaction, note: _Note) -> None:
        existing = transaction.get(ObjectKey("Node", "", note.node))
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Node"}
        if existing is not None:
            body = dict(existing.body)
        metadata = dict(body.get("metadata") or {"name": note.node})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **note.annotations}
        whole = {**body, "metadata": metadata}
        if existing is not None and existing.origin is Origin.SYNCED:
            # What Kubernetes says of a Node is not ours to change, but this it does not say.
            transaction.put(existing.key, whole, Origin.SYNCED, existing)
        else:
            self._apply(transaction, [whole])


class _Note:
    """Annotations that wait to be written."""

    def __init__(self, node: str, annotations: Mapping[str, str]) -> None:
        self.node = node
        self.annotations = annotations
        self.done = trio.Event()
        self.problem: OperatorError | None = None
