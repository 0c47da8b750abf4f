"""A node's servicebus: what the cloud asks is asked of an application on loopback, and no other."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from router_fixtures import Answers, asked, stamps

from edgemesh.bus.http.messages import Request, read_whole, text_response, whole_body
from edgemesh.bus.http.server import Handler, Respond, ServerLimits, serve_requests
from edgemesh.bus.router.local_requests import LocalRequests
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.bus.router.servicebus import Servicebus
from edgemesh.wire.kubeedge.router import (
    Call,
    CallTarget,
    Reply,
    answer_upload,
    call,
    is_reply,
    read_reply,
)
from edgemesh.wire.message import Message, Stamp, new_message

STAMP = Stamp("asked", 1)
URL = "http://10.0.0.1/target"


@asynccontextmanager
async def application(handler: Handler) -> AsyncIterator[int]:
    """An application on a port of loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve(stream: trio.SocketStream) -> None:
        await serve_requests(stream, handler, ServerLimits())

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def mirror(request: Request, respond: Respond) -> None:
    body = (await read_whole(request.body, 10_000)).decode()
    said = json.dumps([request.method, request.target, dict(request.fields), body])
    await respond(text_response(418, said, (("X-App", "a"), ("X-App", "b"))))


async def called(port: int, wanted: Call, allowed: frozenset[int], seconds: float = 60.0) -> Reply:
    bus = Servicebus(lambda: allowed, stamps(), seconds=seconds, max_body_bytes=5000)
    message = call(STAMP, wanted)
    answer = await bus.answer(message)
    assert is_reply(answer)
    assert answer.header.parent_msg_id == "asked"
    return read_reply(answer)


def get(port: int, path: str = "/") -> Call:
    return Call("GET", CallTarget(port, path), {}, b"")


async def test_an_application_is_asked_and_its_answer_comes_back_as_it_is() -> None:
    async with application(mirror) as port:
        headers = {"Content-Length": ["5"], "X-Own": ["1"], "Connection": ["close"]}
        wanted = Call("PUT", CallTarget(port, "/a:b?x=1"), headers, b"hello")
        reply = await called(port, wanted, frozenset({port}))
    assert reply.status == 418
    assert reply.headers["X-App"] == ["a", "b"]
    method, target, fields, body = json.loads(reply.body)
    assert (method, target, body) == ("PUT", "/a:b?x=1", "hello")
    assert (fields["Host"], fields["X-Own"]) == (f"127.0.0.1:{port}", "1")


async def test_a_port_that_no_rule_endpoint_names_is_not_called() -> None:
    async with application(mirror) as port:
        reply = await called(port, get(port), frozenset({port + 1}))
    assert (reply.status, reply.headers["X-Edgemesh-Reason"]) == (403, ["no_rule"])


async def test_an_application_that_is_not_there_is_told_at_once() -> None:
    # A port that nobody else gets meanwhile, and that nobody listens on.
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        reply = await called(port, get(port), frozenset({port}))
    assert (reply.status, reply.headers["X-Edgemesh-Reason"]) == (502, ["not_reached"])


async def test_an_application_that_says_nothing_is_a_timeout() -> None:
    async def say_nothing(_request: Request, _respond: Respond) -> None:
        await trio.sleep_forever()

    async with application(say_nothing) as port:
        reply = await called(port, get(port), frozenset({port}), seconds=0.05)
    assert (reply.status, reply.headers["X-Edgemesh-Reason"]) == (504, ["timeout"])


async def test_an_answer_that_fits_into_no_message_is_told() -> None:
    async def say_much(_request: Request, respond: Respond) -> None:
        await respond(text_response(200, "x" * 5000))

    async with application(say_much) as port:
        reply = await called(port, get(port), frozenset({port}))
    assert (reply.status, reply.headers["X-Edgemesh-Reason"]) == (502, ["too_large"])


async def test_what_is_no_call_is_answered_too() -> None:
    bus = Servicebus(frozenset, stamps(), seconds=1, max_body_bytes=1)
    message = new_message(
        STAMP, source="router_servicebus", group="user", operation="GET", resource="x"
    )
    assert read_reply(await bus.answer(message)).status == 400


def local(ask: Callable[[Message], object]) -> LocalRequests:
    async def asking(message: Message) -> Message:
        await trio.lowlevel.checkpoint()
        answer = ask(message)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Message)
        return answer

    return LocalRequests(asking, lambda: {URL}, stamps(), 1000)


async def posted(ask: Callable[[Message], object], content: bytes, method: str = "POST") -> Answers:
    request = Request(method, "/", (), whole_body(content), len(content))
    return await asked(local(ask).handle, request)


ASKED = json.dumps({"method": "POST", "targetURL": URL, "payload": {"a": 1}}).encode()


async def test_an_application_asks_the_cloud_and_hears_the_target() -> None:
    seen: list[Message] = []

    def answer(message: Message) -> Message:
        seen.append(message)
        return answer_upload(message, STAMP, "from the target")

    answers = await posted(answer, ASKED)
    assert json.loads(answers.body) == {
        "code": 200,
        "msg": "receive response from cloud successfully",
        "body": "from the target",
    }
    [message] = seen
    assert (message.route.operation, message.route.resource) == ("upload", URL)


@pytest.mark.parametrize(
    ("content", "method", "status"),
    [
        (b"{", "POST", 400),
        (b"[]", "POST", 400),
        (b'{"targetURL":5}', "POST", 400),
        (b'{"targetURL":"http://else"}', "POST", 404),
        (b"x" * 1001, "POST", 413),
        (ASKED, "GET", 405),
    ],
)
async def test_what_cannot_be_asked_says_why(content: bytes, method: str, status: int) -> None:
    answers = await posted(lambda _message: None, content, method)
    said = json.loads(answers.body)
    assert (answers.status, said["code"]) == (status, status)
    assert said["msg"]


@pytest.mark.parametrize(
    ("error", "status"), [(NodeAwayError("no cloud"), 503), (NodeSilentError("silence"), 504)]
)
async def test_a_cloud_that_is_away_is_told_at_once(error: Exception, status: int) -> None:
    answers = await posted(lambda _message: error, ASKED)
    assert (answers.status, json.loads(answers.body)["msg"]) == (status, str(error))
