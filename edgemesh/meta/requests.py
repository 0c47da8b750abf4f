"""What the operations insert, update, delete and query do."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from edgemesh.meta.controller import Controller
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.meta.session import Peer
from edgemesh.meta.status import ShownObjects, is_judged
from edgemesh.model.kinds import Kind, find_kind
from edgemesh.model.objects import KubeObject, ObjectKey
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.labelselector import parse_selector
from edgemesh.wire.message import (
    ALL_NAMESPACES,
    ALL_TYPES,
    NO_NAMESPACE,
    Message,
    Operation,
    ResourcePath,
)

QueryHandler = Callable[[Message], Awaitable[Any] | Any]

_ENCODED_AT_ONCE = 100


class Requests:
    """Answers requests from the store, and writes to it through the controller."""

    def __init__(self, store: Store, controller: Controller, shown: ShownObjects) -> None:
        self._store = store
        self._shown = shown
        self._controller = controller
        self._handlers: dict[str, QueryHandler] = {}

    def add_query(self, type_word: str, handler: QueryHandler) -> None:
        """Let a handler answer queries of a type that is no kind, such as ``null/status``."""
        self._handlers[type_word] = handler

    async def answer(self, request: Message, peer: Peer) -> Any:
        """Do what a request asks; return the content of its response.

        Raises:
            RefusedError, OperatorError, MessageError: nothing was changed; the text says why.
        """
        match request.route.operation:
            case Operation.QUERY:
                return await self._query(request)
            case Operation.INSERT | Operation.UPDATE:
                return await self._update(request, peer)
            case Operation.DELETE:
                return await self._delete(request, peer)
            case operation:
                raise RefusedError(
                    Code.BAD_REQUEST,
                    f"operation {operation!r} is unknown",
                    "known are insert, update, delete, query, subscribe, unsubscribe",
                )

    async def _query(self, request: Message) -> Any:
        path = request.resource
        if handler := self._handlers.get(path.type):
            answer = handler(request)
            return await answer if inspect.isawaitable(answer) else answer
        if path.name:
            key = key_of(path)
            found = await self._store.get(key)
            if found is None:
                raise RefusedError(Code.NOT_FOUND, f"{key} not found", objects=[str(key)])
            return (await self._bodies([found]))[0]
        selector = parse_selector(_label_selector(request))
        return await self._bodies(await self._store.read(scope_of(path), selector))

    async def _bodies(self, objects: list[KubeObject]) -> list[msgspec.Raw]:
        """Encode a long list a piece at a time: the data plane shares this thread."""
        if any(map(is_judged, objects)):
            await self._shown.reached(self._store.revision)
        encoded = []
        for count, one in enumerate(objects):
            encoded.append(msgspec.Raw(msgspec.json.encode(self._shown.body(one))))
            if count % _ENCODED_AT_ONCE == _ENCODED_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
        return encoded

    async def _update(self, request: Message, peer: Peer) -> Any:
        _require_writer(request, peer)
        path = request.resource

        def write(transaction: Transaction) -> Any:
            # Decoded in the writer thread, so that a big request does not hold up the loop.
            content = request.value()
            if path.name:
                expected = key_of(path)
                [result] = self._controller.apply(transaction, [content], expected)
                return result
            if not isinstance(content, list):
                raise RefusedError(Code.BAD_REQUEST, f"content for {path} is not an array")
            return self._controller.apply(transaction, content)

        return (await self._store.transact(write))[0]

    async def _delete(self, request: Message, peer: Peer) -> Any:
        _require_writer(request, peer)
        path = request.resource

        def write(transaction: Transaction) -> Any:
            if path.name:
                [result] = self._controller.delete(transaction, [key_of(path)])
                return result
            return self._controller.delete(transaction, _keys(request.value()))

        return (await self._store.transact(write))[0]


def kind_of_word(word: str) -> Kind:
    """The kind that the type in a resource names.

    Raises:
        RefusedError: none.
    """
    kind = find_kind(word)
    if kind is None:
        raise RefusedError(Code.BAD_REQUEST, f"resource type {word!r} is unknown")
    return kind


def key_of(path: ResourcePath) -> ObjectKey:
    """The one object that a path with a name means.

    Raises:
        RefusedError: the type is unknown, or the namespace does not go with it.
    """
    kind = kind_of_word(path.type)
    if not kind.namespaced:
        return ObjectKey(kind.name, "", path.name)
    if path.namespace in {ALL_NAMESPACES, NO_NAMESPACE}:
        raise RefusedError(Code.BAD_REQUEST, f"resource {path}: a {kind.name} has a namespace")
    return ObjectKey(kind.name, path.namespace, path.name)


def scope_of(path: ResourcePath) -> Scope:
    """The objects that a path means.

    Raises:
        RefusedError: the type is unknown.
    """
    kind = "" if path.type == ALL_TYPES else kind_of_word(path.type).name
    unbound = path.namespace in {ALL_NAMESPACES, NO_NAMESPACE}
    return Scope(kind, "" if unbound else path.namespace, path.name)


def _require_writer(request: Message, peer: Peer) -> None:
    if not peer.may_write:
        raise RefusedError(
            Code.FORBIDDEN,
            f"uid {peer.uid} may only read, not {request.route.operation}",
            "root and the agent's own user may write",
        )


def _label_selector(request: Message) -> str:
    options = request.value()
    selector = options.get("labelSelector", "") if isinstance(options, dict) else ""
    if not isinstance(selector, str):
        raise RefusedError(Code.BAD_REQUEST, "labelSelector is not a string")
    return selector


def _keys(content: Any) -> list[ObjectKey]:
    if not isinstance(content, list):
        raise RefusedError(Code.BAD_REQUEST, "content for delete is not an array")
    return [_key(item) for item in content]


def _key(item: Any) -> ObjectKey:
    match item:
        case {"kind": str(kind), "name": str(name), **rest} if name:
            namespace = rest.get("namespace", "")
            if isinstance(namespace, str):
                return key_of(ResourcePath(namespace or NO_NAMESPACE, kind, name))
    raise RefusedError(
        Code.BAD_REQUEST, "an item of delete is not an object of kind, namespace and name"
    )
