"""What probes say and understand, over streams in memory."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair

from edgemesh.model.policies import HealthCheck, ProbeKind
from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.proxy.health.exchanges import ask_grpc, ask_http
from edgemesh.wire.grpc_health import HealthCall
from edgemesh.wire.http1.reader import HeadReader
from edgemesh.wire.http2.codes import DATA
from edgemesh.wire.http2.frames import frame, header_frames, ping, settings
from edgemesh.wire.http2.hpack_encoder import encode_block

PATIENCE_SECONDS = 20.0
CHECK = HealthCheck(ProbeKind.HTTP, path="/healthz", statuses=(200, 299))


class Conversation:
    """A probe, and what a test says as the endpoint."""

    def __init__(self) -> None:
        self.ours, self.theirs = memory_stream_pair()
        self.problem = "not over"

    async def ask(self, check: HealthCheck) -> None:
        heads = HeadReader(HttpSettings())
        self.problem = await ask_http(self.ours, check, "10.0.0.1:8080", heads)

    async def call(self) -> None:
        call = HealthCall("", "10.0.0.1:8080", HttpSettings(), Http2Settings())
        self.problem = await ask_grpc(self.ours, call)

    async def heard(self) -> bytes:
        await trio.testing.wait_all_tasks_blocked()
        return bytes(await self.theirs.receive_some())


async def outcome(*parts: bytes, check: HealthCheck = CHECK, end: bool = False) -> str:
    """What the probe finds when the endpoint says these parts, one after the other."""
    conversation = Conversation()
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.ask, check)
            await conversation.heard()
            for part in parts:
                await conversation.theirs.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            if end:
                await conversation.theirs.send_eof()
    return conversation.problem


async def test_the_request_is_a_plain_get_that_ends_the_connection() -> None:
    for check, line, host in (
        (CHECK, "GET /healthz HTTP/1.1", "10.0.0.1:8080"),
        (HealthCheck(path="/a b?c=é", host="web.example.org"), "GET /a%20b?c=%C3%A9 HTTP/1.1",
         "web.example.org"),
    ):  # fmt: skip
        conversation = Conversation()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.ask, check)
            lines = (await conversation.heard()).decode("ascii").split("\r\n")
            await conversation.theirs.aclose()
        assert lines[0] == line
        assert f"Host: {host}" in lines
        assert "Connection: close" in lines
        assert lines[-2:] == ["", ""]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (b"200 OK", ""),
        (b"299", ""),
        (b"300 Multiple Choices", "HTTP status 300"),
        (b"503 Service Unavailable", "HTTP status 503"),
    ],
)
async def test_the_status_of_the_answer_counts(status: bytes, problem: str) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nhello"
    assert await outcome(answer, end=True) == problem


async def test_an_endpoint_at_its_limit_is_well() -> None:
    for reason, problem in (
        (b"server-quota", ""),
        (b"server-overflow", ""),
        (b"endpoint-failed", "HTTP status 503"),
    ):
        head = b"HTTP/1.1 503 Service Unavailable\r\nX-Edgemesh-Reason: " + reason
        assert await outcome(head + b"\r\nContent-Length: 0\r\n\r\n") == problem


async def test_an_answer_may_come_in_pieces_and_after_interim_ones() -> None:
    whole = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    whole += b"HTTP/1.0 204 No Content\r\nServer: x\r\n\r\n"
    assert await outcome(*(bytes([octet]) for octet in whole)) == ""
    assert await outcome(whole) == ""


async def test_an_answer_that_is_not_http_is_a_problem() -> None:
    assert (await outcome(b"SSH-2.0-OpenSSH_9.2\r\n")).startswith("an answer that is not HTTP/1: ")


async def test_an_answer_without_end_is_a_problem_before_it_fills_the_memory() -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * HttpSettings().max_head_bytes
    assert (await outcome(endless)).startswith("an answer that is not HTTP/1: ")


async def test_silence_and_an_end_is_a_problem() -> None:
    assert await outcome(end=True) == "the connection ended before the answer"


async def test_a_grpc_server_may_ping_before_it_answers() -> None:
    conversation = Conversation()
    head = encode_block([(b":status", b"200")])
    trailers = encode_block([(b"grpc-status", b"0")])
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.call)
            await conversation.heard()
            await conversation.theirs.send_all(settings(()) + ping(b"12345678", ack=False))
            assert ping(b"12345678", ack=True) in await conversation.heard()
            await conversation.theirs.send_all(
                header_frames(1, head, end_stream=False)
                + frame(DATA, 0, 1, b"\0\0\0\0\2\x08\x01")
                + header_frames(1, trailers, end_stream=True)
            )
    assert conversation.problem == ""


async def test_a_grpc_server_that_hangs_up_is_a_problem() -> None:
    conversation = Conversation()
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.call)
            await conversation.heard()
            await conversation.theirs.send_eof()
    assert conversation.problem == "the connection ended before the answer"
