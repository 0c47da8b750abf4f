"""What nodes bring to the cloud is led to REST targets, real ones on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from router_fixtures import Book, FakeNodes, open_book, real_bodies, rule_body, stamps

from edgemesh.bus.http.messages import Request, read_whole, text_response
from edgemesh.bus.http.server import Respond, ServerLimits, serve_requests
from edgemesh.bus.router.uploads import Uploads
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.store.router import RuleOutcome
from edgemesh.wire.kubeedge.router import EVENTBUS, SERVICEBUS, upload
from edgemesh.wire.message import Stamp, new_message

SETTINGS = CloudSettings(max_body_bytes=1000)
STAMP = Stamp("up", 1)


class Cloud(NamedTuple):
    """Uploads, their rules, and one REST target with what it was sent."""

    uploads: Uploads
    book: Book
    nodes: FakeNodes
    url: str
    received: list[tuple[Request, bytes]]

    async def counted(self) -> RuleOutcome:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.book.outcomes.run)
            nursery.cancel_scope.cancel()
        outcomes = await self.book.tables.outcomes()
        return next(one for one in outcomes.values() if one != RuleOutcome())


@asynccontextmanager
async def opened(directory: Path, status: int = 200) -> AsyncIterator[Cloud]:
    received: list[tuple[Request, bytes]] = []

    async def target(request: Request, respond: Respond) -> None:
        received.append((request, await read_whole(request.body, 10_000)))
        await respond(text_response(status, "from the target"))

    async def serve(stream: trio.SocketStream) -> None:
        await serve_requests(stream, target, ServerLimits())

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/in?x=1"
    endpoints = [body for body in real_bodies() if body["kind"] == "RuleEndpoint"]
    rules = [
        rule_body(
            "events",
            "my-eventbus",
            "my-rest",
            {"topic": "test", "node_name": "edge-1"},
            {"resource": url},
        ),
        rule_body(
            "calls",
            "my-servicebus",
            "my-rest",
            {"target_url": "http://shop/buy", "node_name": "edge-1"},
            {"resource": url},
        ),
    ]
    async with open_book(directory, *endpoints, *rules) as book, trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        nodes = FakeNodes()
        nodes.answers["edge-1"] = lambda _message: None
        uploads = Uploads(book.rules, book.outcomes, nodes, SETTINGS, stamps())
        yield Cloud(uploads, book, nodes, url, received)
        nursery.cancel_scope.cancel()


async def test_what_is_published_at_an_edge_reaches_the_target(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        message = upload(STAMP, EVENTBUS, "default/test", b'{"temp":1}')
        await cloud.uploads.take("edge-1", message)
        [(request, body)] = cloud.received
        assert (request.method, request.target, body) == ("POST", "/in?x=1", b'{"temp":1}')
        assert dict(request.fields)["Content-Type"].endswith("json")
        assert await cloud.counted() == RuleOutcome(1)
    assert not cloud.nodes.sent


async def test_inline_json_reaches_the_target_as_json(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        message = new_message(
            STAMP,
            source="bus",
            group="user",
            operation="upload",
            resource="default/test",
            content={"temp": 1},
        )
        await cloud.uploads.take("edge-1", message)
    [(_, body)] = cloud.received
    assert body == b'{"temp":1}'


async def test_an_application_that_asks_hears_the_target(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        await cloud.uploads.take("edge-1", upload(STAMP, SERVICEBUS, "http://shop/buy", b"{}"))
    [(node, answer)] = cloud.nodes.sent
    assert (node, answer.route.operation, answer.header.parent_msg_id) == (
        "edge-1",
        "response",
        "up",
    )
    assert answer.value() == "from the target\n"


async def test_a_target_that_refuses_is_a_failure_of_the_rule(tmp_path: Path) -> None:
    async with opened(tmp_path, status=500) as cloud:
        await cloud.uploads.take("edge-1", upload(STAMP, EVENTBUS, "default/test", b"{}"))
        assert await cloud.counted() == RuleOutcome(0, 1, ("edge-1: the target answered 500",))
    assert len(cloud.received) == 1


async def test_a_target_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        gone = rule_body(
            "calls",
            "my-servicebus",
            "my-rest",
            {"target_url": "http://shop/buy", "node_name": "edge-1"},
            {"resource": "http://u:secret@127.0.0.1:1/in"},
        )
        await cloud.book.apply(gone)
        await cloud.uploads.take("edge-1", upload(STAMP, SERVICEBUS, "http://shop/buy", b"{}"))
        outcome = await cloud.counted()
    [(_, answer)] = cloud.nodes.sent
    assert "http://127.0.0.1:1/in" in answer.value()
    assert outcome.failures == 1
    assert "secret" not in outcome.errors[0]


@pytest.mark.parametrize(
    ("node", "source", "resource"),
    [
        ("edge-2", EVENTBUS, "default/test"),
        ("edge-1", EVENTBUS, "default/other"),
        ("edge-1", EVENTBUS, "other/test"),
        ("edge-1", SERVICEBUS, "default/test"),
        ("edge-2", SERVICEBUS, "http://shop/buy"),
    ],
)
async def test_what_no_rule_names_goes_nowhere(
    tmp_path: Path, node: str, source: str, resource: str
) -> None:
    async with opened(tmp_path) as cloud:
        cloud.nodes.answers["edge-2"] = lambda _message: None
        await cloud.uploads.take(node, upload(STAMP, source, resource, b"{}"))
    assert not cloud.received
    said = [message.value() for _, message in cloud.nodes.sent]
    expected = [f"no rule leads {resource} of node {node} on"] if source == SERVICEBUS else []
    assert said == expected


async def test_a_node_is_told_what_to_bring_when_it_connects_and_when_rules_change(
    tmp_path: Path,
) -> None:
    def told(cloud: Cloud) -> list[tuple[str, str, str]]:
        sent = [message.route for _, message in cloud.nodes.sent]
        cloud.nodes.sent.clear()
        return [(route.source, route.operation, route.resource) for route in sent]

    async with opened(tmp_path) as cloud:
        await cloud.uploads.rules_changed()
        assert told(cloud) == []
        await cloud.uploads.connected("edge-1")
        assert told(cloud) == [
            ("router_eventbus", "subscribe", "default/test"),
            ("router_servicebus", "start", "http://shop/buy"),
        ]
        await cloud.uploads.rules_changed()
        assert told(cloud) == []
        await cloud.book.delete("Rule", "events")
        await cloud.uploads.rules_changed()
        assert told(cloud) == [("router_eventbus", "unsubscribe", "default/test")]
        cloud.uploads.disconnected("edge-1")
        await cloud.book.delete("Rule", "calls")
        await cloud.uploads.rules_changed()
        assert told(cloud) == []


async def test_a_node_that_leaves_is_told_all_when_it_comes_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        await cloud.uploads.connected("edge-1")
        cloud.nodes.sent.clear()
        cloud.uploads.disconnected("edge-1")
        await cloud.uploads.connected("edge-1")
        assert len(cloud.nodes.sent) == 2
