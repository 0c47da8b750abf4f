"""REST requests at the cloud, with rules in a real store and nodes that answer as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import trio
import trio.testing
from router_fixtures import (
    Answers,
    Book,
    FakeNodes,
    asked,
    open_book,
    real_bodies,
    rule_body,
    stamps,
)

from edgemesh.bus.http.messages import Request, text_response, whole_body
from edgemesh.bus.http.server import Respond, ServerLimits, serve_requests
from edgemesh.bus.router.rest import RestRouter
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.store.router import RuleOutcome
from edgemesh.wire.kubeedge.router import Reply, read_call, reply
from edgemesh.wire.message import Message, Stamp

SETTINGS = CloudSettings(max_body_bytes=1000)


class Cloud(NamedTuple):
    """A router, its rules and its nodes."""

    router: RestRouter
    book: Book
    nodes: FakeNodes

    async def call(
        self, method: str, target: str, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
    ) -> Answers:
        request = Request(method, target, fields, whole_body(body), len(body))
        return await asked(self.router.handle, request)

    async def counted(self, rule: str) -> RuleOutcome:
        """What is in the tables about a rule, once all is written."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.book.outcomes.run)
            nursery.cancel_scope.cancel()
        identity = self.book.rules.rules["default", rule].id
        return (await self.book.tables.outcomes())[identity]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_book(tmp_path, *real_bodies()) as book:
        nodes = FakeNodes()
        yield Cloud(RestRouter(book.rules, book.outcomes, nodes, SETTINGS, stamps()), book, nodes)


def answering(status: int, body: bytes = b"", **headers: list[str]) -> object:
    def answer(message: Message) -> Message:
        named = {name.replace("_", "-"): values for name, values in headers.items()}
        return reply(message, Stamp("answer", 1), Reply(status, named, body))

    return answer


@pytest.mark.parametrize("status", [200, 201, 404, 500])
async def test_the_targets_status_fields_and_body_come_back(cloud: Cloud, status: int) -> None:
    cloud.nodes.answers["edge-1"] = answering(status, b"hello", X_Edge=["a", "b"])
    answers = await cloud.call("GET", "/edge-1/default/source/ok?x=1")
    assert (answers.status, answers.body) == (status, b"hello")
    assert answers.field("x-edge") == ["a", "b"]
    [(node, message)] = cloud.nodes.sent
    assert (node, message.route.resource) == ("edge-1", "6666:/target/ok?x=1")


async def test_a_post_is_sent_once_whatever_is_answered(cloud: Cloud) -> None:
    cloud.nodes.answers["edge-1"] = answering(503)
    answers = await cloud.call("POST", "/edge-1/default/source", b"\x00{}")
    assert answers.status == 503
    [(_, message)] = cloud.nodes.sent
    assert read_call(message).body == b"\x00{}"


async def test_what_frames_the_targets_body_is_not_passed_on(cloud: Cloud) -> None:
    """KubeEdge's EdgeCore copies Content-Length, and callers of its router get no body."""
    cloud.nodes.answers["edge-1"] = answering(200, b"hello", Content_Length=["3"])
    answers = await cloud.call("GET", "/edge-1/default/source")
    assert answers.body == b"hello"
    assert not answers.field("content-length")


async def test_an_error_of_the_edge_is_answered_at_once(cloud: Cloud) -> None:
    """EdgeCore's own errors have no operation, for which KubeEdge's callers wait for minutes."""

    def answer(message: Message) -> Message:
        answered = reply(message, Stamp("a", 1), Reply(404, {}, b"error to call service"))
        return Message(
            header=answered.header,
            route=type(answered.route)(source="servicebus", group="user"),
            content=answered.content,
        )

    cloud.nodes.answers["edge-1"] = answer
    answers = await cloud.call("GET", "/edge-1/default/source")
    assert (answers.status, answers.body) == (404, b"error to call service")


async def test_a_silent_node_is_a_timeout(
    cloud: Cloud, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    cloud.nodes.answers["edge-1"] = lambda _message: None
    answers = await cloud.call("GET", "/edge-1/default/source")
    assert (answers.status, answers.field("x-edgemesh-reason")) == (504, ["timeout"])
    assert len(cloud.nodes.sent) == 1


@pytest.mark.parametrize(
    ("target", "status", "reason", "text"),
    [
        ("/edge-9/default/source", 503, "node_away", b"node edge-9 is not connected\n"),
        ("/edge-1/default/else", 404, "no_rule", b"no rule of namespace default leads /else on\n"),
        ("/edge-1/other/source", 404, "no_rule", b"no rule of namespace other leads /source on\n"),
        ("/edge-1", 404, "no_rule", b"/edge-1 is not /NODE/NAMESPACE/PATH\n"),
    ],
)
async def test_what_cannot_be_led_on_says_why(
    cloud: Cloud, target: str, status: int, reason: str, text: bytes
) -> None:
    answers = await cloud.call("GET", target)
    assert (answers.status, answers.field("x-edgemesh-reason")) == (status, [reason])
    assert answers.body == text


@pytest.mark.parametrize("length", [1001, None])
async def test_a_body_that_fits_into_no_message_is_refused(
    cloud: Cloud, length: int | None
) -> None:
    cloud.nodes.answers["edge-1"] = answering(200)
    request = Request("POST", "/edge-1/default/source", (), whole_body(b"x" * 1001), length)
    answers = await asked(cloud.router.handle, request)
    assert answers.status == 413
    assert not cloud.nodes.sent


def without_a_status(message: Message) -> Message:
    answered = reply(message, Stamp("a", 1), Reply(200, {}, b""))
    return Message(header=answered.header, route=answered.route, content=msgspec.Raw(b"{}"))


@pytest.mark.parametrize("answer", [lambda message: message, without_a_status])
async def test_what_is_no_answer_is_a_bad_gateway(
    cloud: Cloud, answer: Callable[[Message], Message]
) -> None:
    cloud.nodes.answers["edge-1"] = answer
    answers = await cloud.call("GET", "/edge-1/default/source")
    assert (answers.status, answers.field("x-edgemesh-reason")) == (502, ["bad_answer"])


async def test_a_rules_quota_is_kept(cloud: Cloud) -> None:
    cloud.nodes.answers["edge-1"] = answering(200)
    limited = rule_body(
        "limited",
        "my-rest",
        "my-servicebus",
        {"path": "/limited"},
        {"path": "/target"},
        qps="0.001",
        burst="2",
    )
    await cloud.book.apply(limited)
    statuses = [(await cloud.call("GET", "/edge-1/default/limited")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await cloud.call("GET", "/edge-1/default/limited")
    assert refused.field("x-edgemesh-reason") == ["quota"]
    assert int(refused.field("retry-after")[0]) > 900
    assert (await cloud.call("GET", "/edge-1/default/source")).status == 200


async def test_successes_and_failures_are_counted_by_rule(cloud: Cloud) -> None:
    cloud.nodes.answers["edge-1"] = answering(500)
    await cloud.call("GET", "/edge-1/default/source")
    await cloud.call("GET", "/edge-2/default/source")
    counted = await cloud.counted("my-rule-rest-servicebus")
    assert counted == RuleOutcome(1, 1, ("edge-2: node edge-2 is not connected",))


async def test_a_text_for_a_topic_is_delivered(cloud: Cloud) -> None:
    cloud.nodes.answers["edge-1"] = lambda _message: None
    answers = await cloud.call("POST", "/edge-1/default/test/sub", b'{"a":1}')
    assert (answers.status, answers.body) == (200, b"message delivered\n")
    [(_, message)] = cloud.nodes.sent
    route = message.route
    assert (route.source, route.operation) == ("router_eventbus", "publish")
    assert (route.resource, message.value()) == ("test/sub", '{"a":1}')


async def test_what_is_no_text_is_refused_for_a_topic(cloud: Cloud) -> None:
    cloud.nodes.answers["edge-1"] = lambda _message: None
    assert (await cloud.call("POST", "/edge-1/default/test", b"\xff")).status == 415
    assert not cloud.nodes.sent


async def test_a_rule_that_is_deleted_leads_nothing_on(cloud: Cloud) -> None:
    await cloud.book.delete("Rule", "my-rule-rest-servicebus")
    assert (await cloud.call("GET", "/edge-1/default/source")).status == 404


async def test_a_rule_whose_endpoint_goes_has_no_effect_and_says_why(cloud: Cloud) -> None:
    await cloud.book.delete("RuleEndpoint", "my-servicebus")
    assert (await cloud.call("GET", "/edge-1/default/source")).status == 404
    assert [str(problem) for problem in cloud.book.rules.problems.values()] == [
        "spec.target: there is no RuleEndpoint default/my-servicebus"
    ]


async def test_bodies_stream_to_a_node_that_takes_streams(cloud: Cloud) -> None:
    seen: list[Request] = []

    async def application(request: Request, respond: Respond) -> None:
        seen.append(replace(request))
        length = 0
        async for part in request.body:
            length += len(part)
        await respond(text_response(201, f"{length} bytes", (("X-Edge", "a"),)))

    async with trio.open_nursery() as nursery:

        async def open_stream() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            near, far = trio.testing.memory_stream_pair()
            nursery.start_soon(serve_requests, far, application, ServerLimits())
            return near

        cloud.nodes.streams["edge-1"] = open_stream
        request = Request(
            "POST",
            "/edge-1/default/source/up?x=1",
            (("Host", "cloud:9443"), ("X-Own", "1"), ("Connection", "close")),
            whole_body(b"x" * 100_000),
            100_000,
        )
        answers = await asked(cloud.router.handle, request)
    assert (answers.status, answers.body) == (201, b"100000 bytes\n")
    assert answers.field("x-edge") == ["a"]
    [passed] = seen
    assert passed.target == "/target/up?x=1"
    fields = {name.lower(): value for name, value in passed.fields}
    assert (fields["host"], fields["x-own"]) == ("127.0.0.1:6666", "1")
    assert not cloud.nodes.sent


async def test_an_application_that_says_nothing_is_a_bad_gateway(cloud: Cloud) -> None:
    async def open_stream() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        await far.send_eof()
        return near

    cloud.nodes.streams["edge-1"] = open_stream
    answers = await cloud.call("GET", "/edge-1/default/source")
    assert (answers.status, answers.field("x-edgemesh-reason")) == (502, ["bad_answer"])
