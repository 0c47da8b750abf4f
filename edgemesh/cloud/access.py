"""The way to an API server: its address, who asks, and one client for all that ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from edgemesh.model.kubernetes_settings import KubernetesSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered to one request.

    Args:
        status: of HTTP, 200.
        headers: names in lower case.
        body: all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Access:
    """Sends requests to one server; see `open_access`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Ask once and read the whole answer, whatever its status.

        Args:
            method: ``GET``, ``PATCH``.
            path: from the root, ``/api/v1/services``.
            query: unescaped.
            body: a JSON value, None for none.
            content_type: of the body; ``application/merge-patch+json`` for a patch.

        Raises:
            UnreachableError: there is no answer, or none in time.
        """
        raise NotImplementedError

    def stream(
        self, path: str, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[tuple[Answer, AsyncIterator[bytes]]]:
        """Ask with GET and read the answer as it comes; see `Access.request`."""
        raise NotImplementedError


@asynccontextmanager
async def open_access(settings: KubernetesSettings) -> AsyncIterator[Access]:
    """Find the server and open a client to it, that closes with the block.

    Args:
        settings: ``server`` is ``in-cluster``, ``kubeconfig`` or a URL.

    Raises:
        OperatorError: there is no such configuration, or it cannot be used.
    """
    raise NotImplementedError
    yield
