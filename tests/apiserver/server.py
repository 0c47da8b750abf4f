"""The server: who may ask, what is asked for, and what others do to it meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio

from apiserver.answers import (
    Answer,
    RefusedError,
    Request,
    not_found,
    ok,
    page_not_found,
    unauthorized,
)
from apiserver.connection import Exchange, Headers, serve_connection
from apiserver.defaults import as_kind
from apiserver.discovery import discovered
from apiserver.faults import Fault, Faults, Lot, refusal
from apiserver.history import History
from apiserver.lists import expired_continue, listed, read_token
from apiserver.resources import (
    BUILT_IN,
    Body,
    Key,
    ResourceType,
    Target,
    defined_type,
    definition_of,
    find_type,
    parse_path,
)
from apiserver.reviews import Reviewer
from apiserver.watches import Send, Watch, accept_watch
from apiserver.writes import Writer

_DEFINITIONS = next(type_ for type_ in BUILT_IN if type_.kind == "CustomResourceDefinition")
_OWN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_CACHE = ("Cache-Control", "no-cache, private")
_FLOWS = (
    ("X-Kubernetes-Pf-Flowschema-Uid", "5a1f6c2e-3a52-4ad5-9f4f-0d6ce3a4c0a1"),
    ("X-Kubernetes-Pf-Prioritylevel-Uid", "c2c6a3b4-6b0f-4e0c-8a53-6a1ad3c1b9d2"),
)
_ENDPOINTS_WARNING = (
    "Warning",
    '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"',
)


@dataclass(eq=False)
class ApiServer:
    """A running server.

    Attributes:
        url: where it listens, without a path.
        tokens: bearer tokens that are taken; none are asked for while it is empty.
        reviewer: answers TokenReviews.
        faults: what goes wrong.
        bookmark_every: seconds between bookmarks of a watch.
        requests: all that came.
        violations: what a client did that no client must do, in words.
        watches: those that are open now, with their requests.
        connections: that are open now.
    """

    url: str = ""
    tokens: set[str] = field(default_factory=set)
    faults: Faults | None = None
    history: History = field(default_factory=History)
    reviewer: Reviewer = field(default_factory=Reviewer)
    bookmark_every: float = 60.0
    requests: list[Request] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    watches: dict[trio.CancelScope, Request] = field(default_factory=dict)
    connections: int = 0

    def __post_init__(self) -> None:
        self._writer = Writer(self.history)
        for name in _OWN_NAMESPACES:
            self.put("/api/v1/namespaces", {"metadata": {"name": name}})

    # What the rest of the cluster does.

    def put(self, path: str, body: Body) -> Body:
        """Create or replace one object, with its status.

        Args:
            path: of its type, ``/api/v1/services``.
            body: apiVersion and kind may be left out; the namespace is ``default`` unless told.

        Returns:
            The object as it is stored; nobody changes it.
        """
        type_, target = self._found(path)
        namespace = body["metadata"].get("namespace", "default") if type_.namespaced else ""
        name = body["metadata"]["name"]
        return self._writer.put(type_, target._replace(namespace=namespace, name=name), body)

    def delete(self, path: str, namespace: str, name: str) -> None:
        """Delete one object; ``namespace`` is "" for objects of the cluster."""
        type_, _ = self._found(path)
        self.history.write(type_, (namespace, name), None)

    def objects(self, path: str) -> dict[Key, Body]:
        """All objects of a type by namespace and name; nobody changes them."""
        return dict(self.history.objects(self._found(path)[0]))

    def install_crd(self, definition: str | Body) -> None:
        """Let a type come: by its definition, or by the plural of a kind that edgemesh reads."""
        body = definition_of(definition) if isinstance(definition, str) else definition
        self.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)

    def remove_crd(self, name: str) -> None:
        """Let a type go, with all its objects: ``rules.rules.kubeedge.io``."""
        type_ = defined_type(self.history.objects(_DEFINITIONS)["", name])
        for key in list(self.history.objects(type_)):
            self.history.write(type_, key, None)
        self.history.write(_DEFINITIONS, ("", name), None)

    def compact(self) -> None:
        """Forget the past: older resourceVersions and ``continue`` tokens get 410."""
        self.history.forget()

    def end_watches(self, plural: str = "") -> None:
        """End the open watches, of one type or all, as a server does that goes down in order."""
        for scope, request in list(self.watches.items()):
            target = parse_path(request.path)
            if not plural or (target is not None and target.plural == plural):
                scope.cancel()

    # What clients ask.

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, of TCP or in memory."""
        self.connections += 1
        try:
            await serve_connection(stream, self._handle)
        except h11.RemoteProtocolError as error:
            self.violations.append(f"not HTTP: {error}")
        finally:
            self.connections -= 1

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.requests.append(request)
        exchange.lot = None if self.faults is None else self.faults.draw(request)
        refused = None if exchange.lot is None else refusal(exchange.lot)
        if refused is not None:
            await exchange.answer(refused, self._headers(request, refused.headers))
            return
        try:
            self._authenticate(request)
            result = await self._result(request, exchange.lot)
        except RefusedError as error:
            result = error.answer
        if isinstance(result, Answer):
            await exchange.answer(result, self._headers(request, result.headers, result.status))
        else:
            await self._stream(exchange, result)

    async def _stream(self, exchange: Exchange, watch: Watch) -> None:
        headers = self._headers(exchange.request, (("Content-Type", "application/json"),))

        async def run(send: Send) -> None:
            with trio.CancelScope() as scope:
                self.watches[scope] = exchange.request
                try:
                    await watch.run(send)
                finally:
                    del self.watches[scope]

        await exchange.tell(headers, run)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.tokens and (scheme.lower() != "bearer" or token not in self.tokens):
            raise unauthorized()

    async def _result(self, request: Request, lot: Lot | None) -> Answer | Watch:
        expired = lot is not None and lot.fault is Fault.EXPIRED
        target = parse_path(request.path)
        if target is not None and target.plural == "tokenreviews":
            return self.reviewer.answer(request)
        type_ = None if target is None else find_type(self._types(), target)
        if target is None or type_ is None:
            return discovered(request.path, self._types()) or page_not_found()
        if target.subresource not in ({"", "status"} if type_.status else {""}):
            return page_not_found()
        if request.method != "GET":
            return self._writer.answer(request, type_, target)
        if target.name and not request.watches:
            return self._got(type_, target)
        if request.watches:
            watch = accept_watch(
                self.history, type_, target, request.query, bookmark_every=self.bookmark_every
            )
            watch.expires = expired
            return watch
        if expired:
            raise expired_continue(read_token(request.query["continue"])[1])
        return ok(await listed(self.history, type_, target, request.query))

    def _got(self, type_: ResourceType, target: Target) -> Answer:
        body = self.history.objects(type_).get(target.key)
        if body is None:
            raise not_found(type_, target.name)
        return ok(as_kind(type_, target, body))

    def _types(self) -> Iterator[ResourceType]:
        yield from BUILT_IN
        for definition in self.history.objects(_DEFINITIONS).values():
            yield defined_type(definition)

    def _found(self, path: str) -> tuple[ResourceType, Target]:
        target = parse_path(path)
        type_ = None if target is None else find_type(self._types(), target)
        if target is None or type_ is None:
            raise KeyError(f"the server has no {path}")
        return type_, target

    def _headers(self, request: Request, own: Headers, status: int = 200) -> Headers:
        warning = (_ENDPOINTS_WARNING,) if request.path.endswith("/endpoints") else ()
        return (_CACHE, *own, *warning, *(() if status == 401 else _FLOWS))


@asynccontextmanager
async def run_apiserver(
    *,
    token: str = "",
    faults: Faults | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[ApiServer]:
    """An API server on TCP.

    Args:
        token: that clients must show; "" lets everybody in.
        faults: what goes wrong.
        port: 0 for any that is free.
    """
    server = ApiServer(tokens={token} if token else set(), faults=faults)
    (listener,) = await trio.open_tcp_listeners(port, host=host)
    server.url = f"http://{host}:{listener.socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.serve, [listener])
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
