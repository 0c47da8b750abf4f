"""The way to an API server: one client for all that ask."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpcore2
import httpx2
import msgspec
import trio
from lightkube.core.exceptions import ConfigError

from edgemesh import __version__
from edgemesh.cloud.identity import Identity, read_identity
from edgemesh.cloud.transport import Transport
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.observe.log import get_logger
from edgemesh.policy.reflector.course import Server
from edgemesh.wire.kubernetes_api.status import is_api_server

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"edgemesh/{__version__}",
}
_OK: Final = 200
_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpx2.HTTPError,  # an answer that cannot be unpacked among them
    httpx2.StreamError,
    # The token's file is gone, or cannot be read.
    ConfigError,
    OSError,
)

_log = get_logger("kubernetes")


class UnreachableError(Exception):
    """There is no answer, or no end of it; the text says why."""


class SilentError(UnreachableError):
    """Nothing has come for so long that nothing will."""


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


class Stream:
    """An answer that is read as it comes; made by `Access.stream`.

    Attributes:
        status: of HTTP, 200.
        headers: names in lower case.
    """

    def __init__(self, response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
        self.status = response.status_code
        self.headers = _headers(response)
        self._chunks = chunks

    async def receive(self) -> bytes:
        """What comes next, b"" after the end.

        Raises:
            SilentError, UnreachableError: nothing more comes, and this was not the end.
        """
        with _telling():
            async for chunk in self._chunks:
                return chunk
        return b""

    async def read(self, limit: int) -> bytes:
        """The whole answer.

        Args:
            limit: bytes that it may have.

        Raises:
            UnreachableError: it has no end, or more than that.
        """
        body = bytearray()
        while chunk := await self.receive():
            body += chunk
            if len(body) > limit:
                raise UnreachableError(f"the answer has more than {limit} bytes")
        return bytes(body)


class Access:
    """Sends requests to one server; made by `open_access`.

    Attributes:
        server: what the last answer has shown to be there.
    """

    def __init__(self, settings: KubernetesSettings, identity: Identity) -> None:
        self._settings = settings
        self._identity = identity
        self._client = _new_client(identity)
        self._renewing = trio.Lock()
        self.server = Server.UNKNOWN

    @property
    def url(self) -> str:
        """Of the server."""
        return self._identity.url

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
        sent: dict[str, Any] = {"params": query or {}}
        if body is not None:
            sent["content"] = msgspec.json.encode(body)
            sent["headers"] = {"Content-Type": content_type}
        seconds = self._settings.request_seconds
        with _within(seconds):
            async with self._opened(method, path, seconds, sent) as stream:
                read = await stream.read(self._settings.max_list_bytes)
                return Answer(stream.status, stream.headers, read)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[Stream]:
        """Ask with GET and read the answer as it comes; it ends with the block.

        Args:
            path: see `request`.
            query: likewise.
            silence_seconds: without a byte after which no more will come.

        Raises:
            SilentError, UnreachableError: there is no answer, and so may reading it.
        """
        async with self._opened("GET", path, silence_seconds, {"params": query}) as stream:
            yield stream

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, silence_seconds: float, sent: Mapping[str, Any]
    ) -> AsyncIterator[Stream]:
        client = await self._renewed()
        dial_seconds = self._settings.dial_seconds
        timeout = httpx2.Timeout(
            connect=dial_seconds, read=silence_seconds, write=dial_seconds, pool=None
        )
        async with AsyncExitStack() as stack:
            with _telling():
                asked = client.stream(method, path, timeout=timeout, **sent)
                response = await stack.enter_async_context(asked)
            if response.status_code == _OK:
                own = is_api_server(_headers(response))
                self.server = Server.API_SERVER if own else Server.METASERVER
            chunks = await stack.enter_async_context(aclosing(response.aiter_bytes()))
            yield Stream(response, chunks)

    async def _renewed(self) -> httpx2.AsyncClient:
        """The client, made anew when its certificates were."""
        if not self._identity.files:
            return self._client
        async with self._renewing:
            if not await trio.to_thread.run_sync(self._identity.is_outdated):
                return self._client
            try:
                identity = await trio.to_thread.run_sync(read_identity, self._settings)
            except OperatorError as error:
                # Perhaps half of the files is written; what is there still works, or does not.
                _log.warning("credentials have changed and cannot be read", problem=str(error))
                return self._client
            before, self._client = self._client, _new_client(identity)
            self._identity = identity
            _log.info("credentials have changed", server=identity.url)
            # What is still asked with the old ones is cut, and asked for again with the new.
            await before.aclose()
            return self._client

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


@asynccontextmanager
async def open_access(settings: KubernetesSettings) -> AsyncIterator[Access]:
    """Find the server and open a client to it, that closes with the block.

    Args:
        settings: ``server`` is ``in-cluster``, ``kubeconfig`` or a URL.

    Raises:
        OperatorError: there is no such configuration, or it cannot be used.
    """
    access = Access(settings, await trio.to_thread.run_sync(read_identity, settings))
    try:
        yield access
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + settings.dial_seconds):
            await access.close()


def _new_client(identity: Identity) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=identity.url,
        auth=identity.auth,
        headers=_HEADERS,
        transport=Transport(identity),
    )


def _headers(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


@contextmanager
def _telling() -> Iterator[None]:
    """Say in our words what goes wrong with a request."""
    try:
        yield
    except httpcore2.ReadTimeout as error:
        raise SilentError("nothing came in time") from error
    except _FAILURES as error:
        raise UnreachableError(_words(error)) from error


def _words(error: BaseException) -> str:
    """What went wrong in the first place: httpcore2 wraps it, in places without a word."""
    # A file that cannot be read says by itself which one.
    inner: BaseException | None = None if isinstance(error, ConfigError) else error
    while inner is not None:
        error = inner
        inner = error.__cause__ or error.__context__
        if isinstance(error, BaseExceptionGroup):
            inner = error.exceptions[0]
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise SilentError(f"no answer within {seconds:g} s") from error
