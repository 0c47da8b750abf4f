"""The API server: who may ask, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from apiserver.answers import Answer, Request, not_found, ok, page_not_found, unauthorized
from apiserver.defaults import as_kind
from apiserver.discovery import discovered
from apiserver.faults import Faults
from apiserver.front import Front, Streamed, listening
from apiserver.lists import expired_continue, listed, read_token
from apiserver.resources import Body, ResourceType, Target, find_type, parse_path
from apiserver.reviews import Reviewer
from apiserver.rights import check_rights
from apiserver.watches import Watch, accept_watch

_ENDPOINTS_WARNING = (
    "Warning",
    '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"',
)


@dataclass(eq=False)
class ApiServer(Front):
    """A Kubernetes API server.

    Attributes:
        tokens: bearer tokens that are taken; none are asked for while it is empty.
        reviewer: answers TokenReviews.
        bookmark_every: seconds between bookmarks of a watch.
        roles: ClusterRoles and Roles of the client; None allows everything.
    """

    always = (("Cache-Control", "no-cache, private"),)
    accounting = (
        ("X-Kubernetes-Pf-Flowschema-Uid", "5a1f6c2e-3a52-4ad5-9f4f-0d6ce3a4c0a1"),
        ("X-Kubernetes-Pf-Prioritylevel-Uid", "c2c6a3b4-6b0f-4e0c-8a53-6a1ad3c1b9d2"),
    )
    tokens: set[str] = field(default_factory=set)
    reviewer: Reviewer = field(default_factory=Reviewer)
    bookmark_every: float = 60.0
    roles: list[Body] | None = None

    def allow(self, roles: list[Body]) -> None:
        """Bind ClusterRoles and Roles to the client, and no others."""
        self.roles = roles

    async def result(self, request: Request) -> Answer | Streamed:
        self._authenticate(request)
        target = parse_path(request.path)
        if target is not None and self.roles is not None:
            check_rights(self.roles, request, target)
        if target is not None and target.plural == "tokenreviews":
            return self.reviewer.answer(request)
        type_ = None if target is None else find_type(self.types(), target)
        if target is None or type_ is None:
            return discovered(request.path, self.types()) or page_not_found()
        if target.subresource not in ({"", "status"} if type_.status else {""}):
            return page_not_found()
        if request.method != "GET":
            return self.writer.answer(request, type_, target)
        if request.watches:
            return accept_watch(
                self.history, type_, target, request.query, bookmark_every=self.bookmark_every
            )
        if target.name:
            return self._got(type_, target)
        answer = ok(await listed(self.history, type_, target, request.query))
        if type_.plural == "endpoints":
            return replace(answer, headers=(*answer.headers, _ENDPOINTS_WARNING))
        return answer

    async def expired(self, request: Request) -> Answer | Streamed:
        result = await self.result(request)
        if isinstance(result, Watch):
            result.expires = True
            return result
        raise expired_continue(read_token(request.query["continue"])[1])

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.tokens and (scheme.lower() != "bearer" or token not in self.tokens):
            raise unauthorized()

    def _got(self, type_: ResourceType, target: Target) -> Answer:
        body = self.history.objects(type_).get(target.key)
        if body is None:
            raise not_found(type_, target.name)
        return ok(as_kind(type_, target, body))


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
    async with listening(server, host, port):
        yield server
