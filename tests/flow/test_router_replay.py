"""The router against recordings of KubeEdge's: what it is asked, says to the edge and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from router_fixtures import FakeNodes, asked, open_book, real_bodies, stamps

from edgemesh.bus.http.messages import Request, whole_body
from edgemesh.bus.router.rest import RestRouter
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.wire.kubeedge.router import is_reply
from edgemesh.wire.message import Message, decode_message, encode_message

RECORDED = Path(__file__).parents[3] / "shared/captures/router.jsonl"
# Fields that differ each time.
OWN = {"msg_id", "timestamp", "parent_msg_id"}


class Recorded(NamedTuple):
    """One request as recorded: from the caller, to the edge, from the edge, to the caller."""

    case: str
    request: dict[str, Any]
    frame: dict[str, Any]
    answer: dict[str, Any]
    response: dict[str, Any]


def recorded() -> Iterator[Recorded]:
    """The requests that were answered by 200 at the first try: others KubeEdge repeats."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    for place, line in enumerate(lines):
        if line["dir"] != "caller->cloud" or line["session"] != "rest":
            continue
        following = lines[place + 1 : place + 4]
        if [one["dir"] for one in following] != ["cloud->edge", "edge->cloud", "cloud->caller"]:
            continue
        frame, answer, response = following
        content = answer.get("frame", {}).get("content", {})
        # A long body was cut in the recording.
        if content.get("status_code") == 200 and not content["body"].endswith("..."):
            yield Recorded(
                line["case"],
                line["http"],
                frame["frame"],
                answer["frame"],
                response["http"],
            )


# A source path matches whole segments here: /source does not lead /sourceXYZ on.
UNLIKE = "sourceXYZ"
CASES = [case for case in recorded() if case.case != UNLIKE]


def frame_of(message: Message) -> dict[str, Any]:
    """A Message as JSON values, without what differs each time."""
    frame: dict[str, Any] = json.loads(encode_message(message))
    return without_own(frame)


def without_own(frame: dict[str, Any]) -> dict[str, Any]:
    header = {name: value for name, value in frame["header"].items() if name not in OWN}
    return {**frame, "header": header}


def test_the_recordings_hold_many_requests() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case.replace(" ", "-"))
async def test_the_edge_is_asked_and_the_caller_answered_as_recorded(
    case: Recorded, tmp_path: Path
) -> None:
    nodes = FakeNodes()

    def answer(message: Message) -> Message:
        raw = {**case.answer, "header": {**case.answer["header"]}}
        raw["header"]["parent_msg_id"] = message.header.msg_id
        reply = decode_message(msgspec.json.encode(raw))
        assert is_reply(reply)
        return reply

    method, target, _ = case.request["request"].split(" ")
    node = target.split("/")[1]
    nodes.answers[node] = answer
    body = case.request["body"].encode()
    fields = tuple(case.request["headers"].items())
    async with open_book(tmp_path, *real_bodies()) as book:
        router = RestRouter(book.rules, book.outcomes, nodes, CloudSettings(), stamps())
        request = Request(method, target, fields, whole_body(body), len(body))
        answers = await asked(router.handle, request)

    [(_, message)] = nodes.sent
    said, expected = frame_of(message), without_own(case.frame)
    # Which are about the connection of the caller, not about the request (RFC 9110, 7.6.1).
    for name in ("Connection", "Content-Length"):
        expected["content"]["header"].pop(name, None)
    assert said == expected
    assert [list(part) for part in (said, said["route"], said["content"])] == [
        list(part) for part in (expected, expected["route"], expected["content"])
    ]
    assert answers.status == int(case.response["response"].split(" ")[1])
    for name, values in case.answer["content"]["header"].items():
        if name not in {"Content-Length", "Date"}:
            assert answers.field(name) == values
    if method != "HEAD":
        sent = case.response["body_as_sent"]
        assert answers.body.decode() in sent
