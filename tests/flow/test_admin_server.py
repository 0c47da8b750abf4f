"""What the admin server promises its clients, and those who stop it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from reserved_ports import reserved_ports

from edgemesh.model.errors import OperatorError
from edgemesh.model.observe_settings import AdminSettings
from edgemesh.observe.admin.pages import Page, json_page, text_page
from edgemesh.observe.admin.server import serve_admin

PATIENCE_SECONDS = 10.0
GET = b"GET /hello HTTP/1.1\r\nHost: localhost:15020\r\n\r\n"
CHUNKED = GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n"
LONG_LINE = "x" * 99 + "\n"


def long_page() -> Iterator[str]:
    for _ in range(20_000):
        yield LONG_LINE


def made_by(make: Callable[[], Page]) -> Callable[[], Awaitable[Page]]:
    async def page() -> Page:
        await trio.lowlevel.checkpoint()
        return make()

    return page


PAGES = {
    "/hello": made_by(lambda: text_page("hello")),
    "/json": made_by(lambda: json_page({"ready": True})),
    "/long": made_by(lambda: Page(long_page())),
    "/empty": made_by(lambda: Page(iter(()))),
}


@dataclass
class Answer:
    """What came of one request."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, in the hands of a test."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def ask(self, request: bytes) -> Answer:
        await self.stream.send_all(request)
        return await self.answer()

    async def answer(self, *, with_body: bool = True) -> Answer:
        """The next answer of a server that tells where its body ends."""
        with trio.fail_after(PATIENCE_SECONDS):
            head = await self._until(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")[:-2]
            headers = dict(field.split(": ", 1) for field in fields)
            body = b""
            if not with_body:
                pass
            elif headers.get("transfer-encoding") == "chunked":
                while size := int(await self._until(b"\r\n"), 16):
                    body += (await self._exactly(size + 2))[:-2]
                assert await self._exactly(2) == b"\r\n"
            elif "content-length" in headers:
                body = await self._exactly(int(headers["content-length"]))
            else:
                body = await self.rest()
        return Answer(int(line.split(" ")[1]), headers, body)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        with trio.fail_after(PATIENCE_SECONDS):
            while data := await self.stream.receive_some(65536):
                self._buffer += data
        taken, self._buffer = self._buffer, b""
        return taken

    async def comes_to_its_end(self) -> None:
        """Return once the server has closed though there is more to read."""
        with suppress(trio.BrokenResourceError):
            while True:
                await self.stream.send_all(GET)
                await trio.testing.wait_all_tasks_blocked(0.01)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._receive()
        return await self._exactly(self._buffer.index(mark) + len(mark))

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def _receive(self) -> None:
        data = await self.stream.receive_some(65536)
        assert data, f"closed after {self._buffer!r}"
        self._buffer += data


class Server:
    """The running server."""

    def __init__(self, port: int, scope: trio.CancelScope) -> None:
        self.port = port
        self.scope = scope
        self.stopped = trio.Event()
        self._clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(await trio.open_tcp_stream("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    def hang_up(self) -> None:
        for client in self._clients:
            client.stream.socket.close()


@asynccontextmanager
async def running(**options: float) -> AsyncIterator[Server]:
    with reserved_ports(1) as [port]:
        settings = AdminSettings(listen=f"127.0.0.1:{port}", **options)  # type: ignore[arg-type]
        async with serving(settings) as server:
            yield server


@asynccontextmanager
async def serving(settings: AdminSettings) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        server = Server(0, trio.CancelScope())

        async def serve(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            with server.scope:
                await serve_admin(settings, PAGES, task_status=task_status)
            server.stopped.set()

        _, server.port = await nursery.start(serve)
        try:
            yield server
        finally:
            server.hang_up()
        server.scope.cancel()
        with trio.fail_after(PATIENCE_SECONDS):
            await server.stopped.wait()


async def test_a_page_is_answered_with_its_type_and_length() -> None:
    async with running() as server:
        client = await server.client()
        answer = await client.ask(GET)
        assert (answer.status, answer.body) == (200, b"hello\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "connection" not in answer.headers
        answer = await client.ask(GET.replace(b"/hello", b"/json?pretty"))
        assert (answer.headers["content-type"], answer.body) == (
            "application/json",
            b'{"ready":true}\n',
        )


async def test_pieces_arrive_whole_and_the_connection_goes_on() -> None:
    async with running() as server:
        client = await server.client()
        for _ in range(2):
            answer = await client.ask(GET.replace(b"hello", b"long"))
            assert answer.body == b"".join(line.encode() for line in long_page())
        assert (await client.ask(GET.replace(b"hello", b"empty"))).body == b""


async def test_an_old_client_gets_pieces_until_the_end_of_its_connection() -> None:
    async with running() as server:
        client = await server.client()
        answer = await client.ask(b"GET /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert "transfer-encoding" not in answer.headers
        assert answer.body == b"".join(line.encode() for line in long_page())


async def test_an_old_client_keeps_its_connection_where_it_asks_to() -> None:
    async with running() as server:
        client = await server.client()
        request = b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        for _ in range(2):
            answer = await client.ask(request)
            assert (answer.headers["connection"], answer.body) == ("keep-alive", b"hello\n")
        answer = await client.ask(b"GET /hello HTTP/1.0\r\n\r\n")
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async with running() as server:
        client = await server.client()
        await client.stream.send_all(GET + GET.replace(b"hello", b"json") + GET[:10])
        assert (await client.answer()).body == b"hello\n"
        assert (await client.answer()).body == b'{"ready":true}\n'
        assert (await client.ask(GET[10:])).body == b"hello\n"


@pytest.mark.parametrize("path", ["hello", "long"])
async def test_a_head_is_answered_without_a_body(path: str) -> None:
    async with running() as server:
        client = await server.client()
        request = GET.replace(b"hello", path.encode())
        got = await client.ask(request)
        await client.stream.send_all(request.replace(b"GET", b"HEAD"))
        head = await client.answer(with_body=False)
        assert head.headers.keys() == got.headers.keys()
        assert (await client.ask(GET)).body == b"hello\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /unknown HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /hello HTTP/1.1\r\nHost: mesh.example\r\n\r\n", 421),
    ],
)
async def test_a_refused_request_leaves_the_connection_open(request_: bytes, status: int) -> None:
    async with running() as server:
        client = await server.client()
        answer = await client.ask(request_)
        assert answer.status == status
        assert answer.headers.get("allow") == ("GET, HEAD" if status == 405 else None)
        assert (await client.ask(GET)).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400),
        (b"GET /hello\r\n\r\n", 505),
        (b"GET /hello HTTP/2.0\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000, 431),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"POST / HTTP/1.1\r\nHost: ::\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED, 413),
    ],
    ids=[
        "no-host",
        "bare-lf",
        "no-version",
        "http2",
        "tls",
        "long-head",
        "long-line",
        "body",
        "host",
        "chunks",
    ],
)
async def test_what_is_no_request_is_answered_and_the_connection_ends(
    request_: bytes, status: int
) -> None:
    async with running() as server:
        client = await server.client()
        answer = await client.ask(request_)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert await client.rest() == b""


@pytest.mark.parametrize("host", ["127.0.0.1:15020", "[::1]:15020", "localhost", "10.0.0.1"])
async def test_it_may_be_asked_by_address_or_as_localhost(host: str) -> None:
    async with running() as server:
        client = await server.client()
        answer = await client.ask(GET.replace(b"localhost:15020", host.encode()))
        assert answer.status == 200


@pytest.mark.parametrize("begun", [b"", b"GET /hello HT", GET[:-2]])
async def test_silence_ends_a_connection(begun: bytes) -> None:
    async with running(idle_timeout_seconds=0.05) as server:
        client = await server.client()
        await client.stream.send_all(begun)
        assert await client.rest() == b""


async def test_an_answer_that_nobody_takes_ends_its_connection_and_no_other(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with running(idle_timeout_seconds=4.0) as server:
        silent, other = await server.client(), await server.client()
        silent.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(8):
            await silent.stream.send_all(GET.replace(b"hello", b"long"))
        for _ in range(5):
            assert (await other.ask(GET)).body == b"hello\n"
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(1.0)
        await silent.comes_to_its_end()
        assert (await other.ask(GET)).body == b"hello\n"


async def test_beyond_the_limit_an_idle_connection_gives_way() -> None:
    async with running(max_connections=2) as server:
        first, second = await server.client(), await server.client()
        assert (await first.ask(GET)).status == 200
        assert (await second.ask(GET)).status == 200
        third = await server.client()
        assert (await third.ask(GET)).status == 200
        assert await first.rest() == b""
        assert (await second.ask(GET)).status == 200


async def test_many_clients_are_served_side_by_side() -> None:
    async with running() as server, trio.open_nursery() as nursery:

        async def ask_often() -> None:
            client = await server.client()
            for _ in range(20):
                assert (await client.ask(GET)).body == b"hello\n"

        for _ in range(50):
            nursery.start_soon(ask_often)


async def test_when_stopped_answers_that_have_begun_are_finished() -> None:
    async with running(drain_seconds=PATIENCE_SECONDS) as server:
        client, idle = await server.client(), await server.client()
        assert (await idle.ask(GET)).status == 200
        await client.stream.send_all(GET.replace(b"hello", b"long"))
        await client.stream.wait_send_all_might_not_block()
        begun = await client._exactly(100)
        server.scope.cancel()
        assert await idle.rest() == b""
        client._buffer = begun + client._buffer
        answer = await client.answer()
        assert answer.body == b"".join(line.encode() for line in long_page())
        assert await client.rest() == b""


async def test_when_stopped_an_answer_that_nobody_takes_is_cut_at_the_deadline() -> None:
    async with running(drain_seconds=0.05) as server:
        client = await server.client()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.stream.send_all(GET.replace(b"hello", b"long") * 8)
        await client._exactly(100)
        server.scope.cancel()
        with trio.fail_after(PATIENCE_SECONDS):
            await server.stopped.wait()


async def test_a_port_that_is_taken_is_named() -> None:
    async with running() as server:
        settings = AdminSettings(listen=f"127.0.0.1:{server.port}")
        taken = rf"admin.listen: 127.0.0.1 port {server.port}: .*in use"
        with pytest.raises(OperatorError, match=taken):
            await serve_admin(settings, PAGES)


@pytest.mark.parametrize("listen", ["localhost:15020", "127.0.0.1", "127.0.0.1:0", ""])
async def test_a_malformed_address_is_named(listen: str) -> None:
    with pytest.raises(OperatorError, match=r"admin.listen: .*"):
        await serve_admin(AdminSettings(listen=listen), PAGES)
