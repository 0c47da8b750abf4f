"""What KubeEdge's edges write: their Node, its status, that of their Pods, and their Lease.

Leases stay in memory: an edge renews its own every 10 s, and only itself reads it. Of heartbeats
nothing is stored either, or each of them would go to every node of the mesh.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from edgemesh.bus.cloudhub.link_notes import Apply
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import KubeObject, ObjectKey
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubeedge.answers import failure, not_found, outcome, read_patch
from edgemesh.wire.kubeedge.strategic_patch import merge_patch
from edgemesh.wire.message import Message, MessageError, Operation, ResourcePath

_COORDINATION: Final = "coordination.k8s.io"
_TYPE: Final = frozenset({"kind", "apiVersion"})

Body = dict[str, Any]


class Written(NamedTuple):
    """What an edge is answered.

    Args:
        content: of the answer.
        revision: of the object, "" without one.
    """

    content: Body
    revision: str = ""


class EdgeWrites:
    """Carries out what ``authorization.refuse`` has let pass.

    Args:
        store: of the cloud.
        apply: writes objects, within a transaction.
        most_leases: that are kept; the one that was renewed longest ago goes first.
    """

    def __init__(self, store: Store, apply: Apply, most_leases: int) -> None:
        self._store = store
        self._apply = apply
        self._most_leases = most_leases
        self._leases: OrderedDict[str, Body] = OrderedDict()

    async def write(self, message: Message) -> Written | None:
        """Do what a Message asks; None where CloudCore has no answer either.

        Raises:
            MessageError: the content has another form.
        """
        path = message.resource
        match path.type, message.route.operation:
            case "lease", Operation.QUERY:
                return self._lease(path.name)
            case "lease", (Operation.INSERT | Operation.UPDATE):
                return self._renew(path.name, _content(message))
            case "node", Operation.INSERT:
                written = await self._change(_node(path), _inserted(_content(message)))
                # As recorded: patches alone are answered with a revision.
                return written._replace(revision="")
            case "node", Operation.UPDATE:
                return await self._change(_node(path), _replaced(_content(message)))
            case "nodepatch", Operation.PATCH:
                return await self._change(_node(path), _patched(read_patch(message)))
            case "podpatch", Operation.PATCH:
                key = ObjectKey("Pod", path.namespace, path.name)
                return await self._change(key, _patched(read_patch(message)))
        return None

    def _lease(self, node: str) -> Written:
        lease = self._leases.get(node)
        missing = not_found("lease", node, _COORDINATION)
        return Written(outcome(lease, None if lease else missing))

    def _renew(self, node: str, lease: Body) -> Written:
        self._leases[node] = lease
        self._leases.move_to_end(node)
        if len(self._leases) > self._most_leases:
            self._leases.popitem(last=False)
        return Written(outcome(lease))

    async def _change(self, key: ObjectKey, change: _Change) -> Written:
        written: list[KubeObject] = []

        def work(transaction: Transaction) -> None:
            existing = transaction.get(key)
            body = change(key, None if existing is None else existing.body)
            self._apply(transaction, [body])
            stored = transaction.get(key)
            if stored is not None:
                written[:] = [stored]

        try:
            await self._store.transact(work)
        except _Refused as refused:
            return Written(outcome(None, refused.status))
        except OperatorError as problem:
            return Written(outcome(None, failure(422, "Invalid", str(problem))))
        stored = written[0]
        # Go's typed clients lose what an object says of its kind, so answers have none.
        typed = {name: part for name, part in stored.body.items() if name not in _TYPE}
        return Written(outcome(typed), str(stored.resource_version))


class _Refused(Exception):  # noqa: N818 - an answer
    """Nothing is written; the edge is told the status."""

    def __init__(self, status: Body) -> None:
        super().__init__(status["message"])
        self.status = status


# Makes the new body of an object out of the present one, None where there is none.
_Change = Callable[[ObjectKey, Mapping[str, Any] | None], Body]


def _inserted(content: Body) -> _Change:
    def change(key: ObjectKey, present: Mapping[str, Any] | None) -> Body:
        if present is not None:
            text = f'{key.kind.lower()}s "{key.name}" already exists'
            raise _Refused(failure(409, "AlreadyExists", text))
        return _whole(key, _without_heartbeats(content))

    return change


def _replaced(content: Body) -> _Change:
    def change(key: ObjectKey, present: Mapping[str, Any] | None) -> Body:
        if present is None:
            raise _Refused(not_found(f"{key.kind.lower()}s", key.name))
        metadata = dict(present["metadata"])
        for field in ("labels", "annotations"):
            metadata[field] = {
                **(metadata.get(field) or {}),
                **((content.get("metadata") or {}).get(field) or {}),
            }
        whole = {**present, **_without_heartbeats(content), "metadata": metadata}
        return _whole(key, whole)

    return change


def _patched(patch: Body) -> _Change:
    # Kubernetes takes a status by a door of its own, and nothing else with it.
    status = {"status": patch.get("status") or {}}

    def change(key: ObjectKey, present: Mapping[str, Any] | None) -> Body:
        if present is None:
            raise _Refused(not_found(f"{key.kind.lower()}s", key.name))
        return _without_heartbeats(merge_patch(dict(present), status))

    return change


def _whole(key: ObjectKey, content: Body) -> Body:
    """EdgeCore leaves out what Go's types say already."""
    return {**content, "apiVersion": "v1", "kind": key.kind}


def _without_heartbeats(body: Body) -> Body:
    status = body.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    if not isinstance(conditions, list):
        return body
    kept = [
        {name: value for name, value in each.items() if name != "lastHeartbeatTime"}
        if isinstance(each, dict)
        else each
        for each in conditions
    ]
    return {**body, "status": {**body["status"], "conditions": kept}}


def _node(path: ResourcePath) -> ObjectKey:
    return ObjectKey("Node", "", path.name)


def _content(message: Message) -> Body:
    value = message.value()
    if not isinstance(value, dict):
        raise MessageError(f"the content of {message.route.resource!r:.300} is no object")
    return value
