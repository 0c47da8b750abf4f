"""Kubernetes' objects as far as a fake CloudCore needs them, and its answers to edges."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from edgemesh.wire.kubeedge import answers, application
from edgemesh.wire.message import Message, MessageError, Operation, ResourcePath, Stamp

LEASES = "kube-node-lease"
_KINDS = {
    "endpointslices": "endpointslice",
    "namespaces": "namespace",
    "nodes": "node",
    "pods": "pod",
    "services": "service",
}


class FakeStore:
    """Objects by resource: ``NAMESPACE/KIND/NAME``, namespace ``null`` for none.

    Attributes:
        removed: the last state of what was deleted.
        dynamic: CloudCore's ``dynamicController.enable``; without it no Application is answered.
        broken: resources that the API server has trouble with.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {}
        self._revision = 100
        self.removed: dict[str, dict[str, Any]] = {}
        self.dynamic = True
        self.broken: set[str] = set()

    def __contains__(self, resource: str) -> bool:
        return resource in self._objects

    def get(self, resource: str) -> dict[str, Any] | None:
        return self._objects.get(resource)

    def put(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store an object: with a new resourceVersion, and the uid that it had."""
        path = ResourcePath.parse(resource)
        self._revision += 1
        before = self._objects.get(resource, {}).get("metadata", {})
        metadata = {"name": path.name, **body.get("metadata", {})}
        metadata["uid"] = before.get("uid") or str(uuid.uuid4())
        metadata["resourceVersion"] = str(self._revision)
        if path.namespace != "null":
            metadata["namespace"] = path.namespace
        self._objects[resource] = {**body, "metadata": metadata}
        return self._objects[resource]

    def remove(self, resource: str) -> None:
        self._revision += 1
        self.removed[resource] = self._objects.pop(resource)

    def answer(self, message: Message, node: str, stamp: Stamp, *, strict: bool) -> Message | None:
        """What CloudCore answers; None for what it passes over in silence."""
        if application.is_application(message):
            return self._apply(message, node, stamp) if self.dynamic else None
        try:
            path = message.resource
        except MessageError:
            return None
        match path.type, message.route.operation:
            case "node", Operation.QUERY:
                own = path.name == node or not strict
                return self._query(message, f"null/node/{path.name}", stamp) if own else None
            case (("configmap" | "secret"), Operation.QUERY):
                return self._query(message, message.route.resource, stamp)
            case "lease", Operation.QUERY:
                return self._query_lease(message, path, stamp)
            case (("lease" | "node"), (Operation.INSERT | Operation.UPDATE)):
                stored = self.put(message.route.resource, message.value())
                return answers.answer(message, stamp, answers.outcome(stored))
            case "nodepatch", Operation.PATCH:
                return self._patch(message, path, stamp)
        return None

    def _query(self, message: Message, resource: str, stamp: Stamp) -> Message:
        path = ResourcePath.parse(resource)
        found = self.get(resource)
        if found is None:
            missing = answers.error(answers.not_found(path.type, path.name))
            return answers.answer(message, stamp, missing)
        revision = found["metadata"]["resourceVersion"]
        return answers.answer(message, stamp, found, revision=revision)

    def _query_lease(self, message: Message, path: ResourcePath, stamp: Stamp) -> Message:
        found = self.get(message.route.resource)
        missing = answers.not_found("lease", path.name, "coordination.k8s.io")
        content = answers.outcome(found, None if found else missing)
        return answers.answer(message, stamp, content)

    def _patch(self, message: Message, path: ResourcePath, stamp: Stamp) -> Message:
        resource = f"null/node/{path.name}"
        found = self.get(resource)
        if found is None:
            missing = answers.not_found("node", path.name)
            return answers.answer(message, stamp, answers.outcome(None, missing))
        patched = self.put(resource, {**found, **answers.read_patch(message)})
        revision = patched["metadata"]["resourceVersion"]
        return answers.answer(message, stamp, answers.outcome(patched), revision=revision)

    def _apply(self, message: Message, node: str, stamp: Stamp) -> Message:
        if message.route.resource == application.WATCH_SYNC:
            return application.respond_watches(message, stamp, {})
        # The node of the connection counts, whatever the Application says.
        asked = msgspec.structs.replace(application.read_application(message), node=node)
        return application.respond(message, stamp, self._applied(asked))

    def _applied(self, asked: application.Application) -> application.Application:
        key = asked.asked_of
        kind = _KINDS.get(key.resource)
        if key.resource in self.broken:
            return application.reject(asked, "get current list error: etcdserver: timed out")
        if kind is None:
            words = "the server could not find the requested resource"
            return application.reject(asked, f"get current list error: {words}")
        if asked.verb == application.Verb.GET:
            found = self.get(f"{key.namespace or 'null'}/{kind}/{key.name}")
            if found is None:
                missing = answers.not_found(key.resource, key.name)
                status = {"kind": "Status", "apiVersion": "v1", **missing}
                return application.reject(asked, status=status)
            return application.approve(asked, msgspec.json.encode(found))
        items = [
            body
            for resource, body in self._objects.items()
            if ResourcePath.parse(resource).type == kind
            and key.namespace in {"", body["metadata"].get("namespace", "")}
        ]
        return application.approve(asked, msgspec.json.encode(self._page(asked, items)))

    def _page(self, asked: application.Application, items: list[Any]) -> dict[str, Any]:
        options = asked.options()
        start = int(options.get("continue") or 0)
        end = start + int(options.get("limit") or len(items))
        metadata = {"resourceVersion": str(self._revision)}
        if end < len(items):
            metadata["continue"] = str(end)
        page = items[start:end]
        return {"apiVersion": "v1", "items": page, "kind": "List", "metadata": metadata}
