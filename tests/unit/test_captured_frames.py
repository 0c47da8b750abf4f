"""Every frame that was recorded from KubeEdge, against what we read and write."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from captured import FRAMES, Captured, lines

from edgemesh.wire.kubeedge import answers, application, router, session
from edgemesh.wire.kubeedge.answers import DYNAMIC_CONTROLLER, EDGE_CONTROLLER
from edgemesh.wire.message import (
    Message,
    MessageError,
    Operation,
    ResourcePath,
    Stamp,
    encode_message,
)

BY_ID = {each.message.header.msg_id: each for each in FRAMES}


def some(choose: Callable[[Captured], bool], least: int) -> list[Captured]:
    """The frames of one sort; there must be some, or the test would prove nothing."""
    chosen = [each for each in FRAMES if choose(each)]
    assert len(chosen) >= least, len(chosen)
    return chosen


def stamp(message: Message) -> Stamp:
    return Stamp(message.header.msg_id, message.header.timestamp)


def ordered(value: Any) -> Any:
    """JSON values whose order of keys counts."""
    if isinstance(value, dict):
        return [(key, ordered(each)) for key, each in value.items()]
    return [ordered(each) for each in value] if isinstance(value, list) else value


def as_go_writes(captured: Captured) -> dict[str, Any]:
    """The frame; that of the Python client as Go would have written it."""
    frame = captured.frame
    if captured.real:
        return frame
    route = {key: value for key, value in frame["route"].items() if value != ""}
    return {"header": frame["header"], "route": route, "content": frame.get("content")}


def same(written: Message, captured: Captured) -> bool:
    made = ordered(json.loads(encode_message(written)))
    assert made == ordered(as_go_writes(captured)), captured.place
    return True


def request_of(captured: Captured) -> Message:
    return BY_ID[captured.message.header.parent_msg_id].message


@pytest.mark.parametrize("captured", FRAMES, ids=lambda each: each.place)
def test_every_frame_is_written_as_it_was_read(captured: Captured) -> None:
    assert same(captured.message, captured)


def test_keepalives_are_written_as_edgecore_does() -> None:
    keepalives = some(lambda each: each.message.route.operation == "keepalive", 18)
    assert all(same(session.keepalive(stamp(each.message)), each) for each in keepalives)
    assert all(session.is_keepalive(each.message) for each in keepalives)


def acknowledging(each: Captured) -> bool:
    return each.real and not each.down and bool(session.acknowledged(each.message))


def test_acknowledgements_are_written_as_edgecore_does() -> None:
    for each in some(acknowledging, 30):
        assert same(session.acknowledge(request_of(each), stamp(each.message)), each)


def test_edgecore_acknowledges_what_we_say_it_does() -> None:
    """Of the recorded sessions of EdgeCore; what came in their last moments has no time to be."""
    file = "edge-to-cloudhub"
    acknowledged = {session.acknowledged(each.message) for each in FRAMES} - {""}
    down = some(lambda each: each.down and each.place.startswith(file), 80)
    for each in down:
        if each.message.header.msg_id in acknowledged:
            assert session.is_acknowledged_by_edge(each.message), each.place
    missed = [
        each.place
        for each in down
        if session.is_acknowledged_by_edge(each.message)
        and each.message.header.msg_id not in acknowledged
    ]
    assert len(missed) <= 2, missed


def test_cloudcore_sends_again_only_what_we_say_needs_acknowledgement() -> None:
    again = [
        each
        for each in FRAMES
        if each.down and BY_ID[each.message.header.msg_id].place != each.place
    ]
    assert len(again) >= 4
    assert all(session.needs_acknowledgement(each.message) for each in again)


def test_nothing_of_the_router_and_of_applications_is_acknowledged() -> None:
    def other(each: Captured) -> bool:
        operation = each.message.route.operation
        return each.down and (
            each.message.route.group == "user" or operation == "applicationResponse"
        )

    for each in some(other, 80):
        assert not session.needs_acknowledgement(each.message)
        assert not session.is_acknowledged_by_edge(each.message)


def test_answers_with_an_object_are_no_acknowledgements() -> None:
    for each in some(lambda one: answered(one) and one.content != "OK", 30):
        assert not session.acknowledged(each.message), each.place


def test_pushes_are_written_as_cloudcore_does() -> None:
    def pushed(each: Captured) -> bool:
        return each.down and each.message.route.operation in {"insert", "update", "delete"}

    for each in some(pushed, 60):
        message = each.message
        written = answers.push(
            stamp(message),
            Operation(message.route.operation),
            ResourcePath.parse(message.route.resource),
            each.content,
            revision=message.header.resourceversion,
            source=message.route.source,
        )
        assert message.route.source in {EDGE_CONTROLLER, DYNAMIC_CONTROLLER}
        assert same(written, each)


def test_tombstones_are_written_as_cloudcore_does() -> None:
    def bare(each: Captured) -> bool:
        return each.message.route.operation == "delete" and list(each.content) == ["metadata"]

    for each in some(lambda one: one.down and bare(one), 4):
        path = each.message.resource
        uid = each.content["metadata"]["uid"]
        content = answers.tombstone(path.namespace, path.name, uid)
        assert ordered(content) == ordered(each.content)


def answered(each: Captured) -> bool:
    route = each.message.route
    return each.down and route.operation == "response" and route.source == EDGE_CONTROLLER


def test_answers_are_written_as_cloudcore_does() -> None:
    for each in some(answered, 20):
        message = each.message
        read = answers.read_answer(message)
        content: Any
        if each.content == "OK":
            content = "OK"
        elif "Object" in each.content:
            content = answers.outcome(read.object, read.status)
        else:
            content = read.object if read.status is None else answers.error(read.status)
        written = answers.answer(
            request_of(each), stamp(message), content, revision=message.header.resourceversion
        )
        assert same(written, each)


def test_what_is_not_found_is_said_as_cloudcore_does() -> None:
    def missing(each: Captured) -> bool:
        return (
            answered(each) and each.content != "OK" and answers.read_answer(each.message).not_found
        )

    kinds = set()
    for each in some(missing, 4):
        path = each.message.resource
        group = "coordination.k8s.io" if path.type == "lease" else ""
        status = answers.not_found(path.type, path.name, group)
        assert ordered(status) == ordered(answers.read_answer(each.message).status)
        kinds.add(path.type)
    assert kinds == {"node", "configmap", "lease"}


def test_patches_are_json_in_a_string() -> None:
    for each in some(lambda one: one.message.route.operation == "patch", 3):
        patch = answers.read_patch(each.message)
        assert patch == json.loads(each.content)


def is_application(each: Captured) -> bool:
    return isinstance(each.content, dict) and "Verb" in each.content


def test_applications_are_written_as_edgecore_does() -> None:
    for each in some(lambda one: one.real and not one.down and is_application(one), 51):
        read = application.read_application(each.message)
        again = application.new_application(
            read.node,
            read.key,
            read.verb,
            option=raw(read.option) or b"",
            body=raw(read.request_body),
            subresource=read.subresource,
        )
        assert again.id == read.id, each.place
        # One that EdgeCore asks once more has the time of then, and "" for null.
        again = msgspec.structs.replace(
            again, timestamp=read.timestamp, response_body=read.response_body
        )
        assert same(application.ask(again, stamp(each.message)), each)
        assert application.is_application(each.message)


def test_applications_ask_by_the_keys_that_we_write() -> None:
    keys = {each.content["Key"] for each in FRAMES if is_application(each)}
    assert len(keys) > 10
    assert keys > application.PLAIN_KEYS
    for key in keys - application.PLAIN_KEYS:
        assert str(application.AppKey.parse(key)) == key
    with pytest.raises(MessageError, match="'/version' is not /group/version"):
        application.AppKey.parse("/version")


def answers_application(each: Captured) -> bool:
    """Long bodies were left out of the recording; and a forged Nodename is corrected there."""
    if not each.down or not is_application(each):
        return False
    asked = BY_ID[each.message.header.parent_msg_id].content
    kept = not (each.content["RespBody"] or "").startswith("<base64 of")
    return kept and asked["Nodename"] == each.content["Nodename"]


def test_answers_to_applications_are_written_as_cloudcore_does() -> None:
    statuses = set()
    for each in some(answers_application, 35):
        asked = application.read_application(request_of(each))
        read = application.read_application(each.message)
        statuses.add(read.status)
        if read.status == application.Status.REJECTED:
            status = dict(read.error_status) if read.error_status else None
            done = application.reject(asked, read.reason, status)
        else:
            done = application.approve(asked, raw(read.response_body))
        assert same(application.respond(request_of(each), stamp(each.message), done), each)
    assert statuses == {"Approved", "Rejected"}


def test_synchronised_watches_are_read_and_answered_as_cloudcore_does() -> None:
    answered_watches = some(
        lambda one: one.down and one.message.route.resource == application.WATCH_SYNC, 1
    )
    for each in answered_watches:
        failed = application.read_watches(each.message)
        written = application.respond_watches(request_of(each), stamp(each.message), failed)
        assert same(written, each)
    for each in some(lambda one: one.message.route.resource == application.WATCH_SYNC, 3):
        watches = application.read_watches(each.message)
        assert {watch.id for watch in watches.values()} == set(watches)


def test_calls_are_written_as_the_router_does() -> None:
    for each in some(lambda one: router.is_call(one.message), 35):
        read = router.read_call(each.message)
        assert read.method == each.message.route.operation
        assert router.gather_headers(
            (name.lower(), value) for name, values in read.headers.items() for value in values
        ) == dict(read.headers)
        assert same(router.call(stamp(each.message), read), each)


def test_replies_are_written_as_edgecore_does() -> None:
    def replied(each: Captured) -> bool:
        return isinstance(each.content, dict) and "status_code" in each.content

    for each in some(lambda one: one.real and replied(one), 5):
        assert router.is_reply(each.message)
        assert not router.is_upload(each.message)
        read = router.read_reply(each.message)
        assert same(router.reply(request_of(each), stamp(each.message), read), each)


def test_errors_of_edgecore_without_an_operation_are_replies_too() -> None:
    def without(each: Captured) -> bool:
        return each.message.route.source == "servicebus" and not each.message.route.operation

    for each in some(without, 3):
        assert router.is_reply(each.message)
        assert router.read_reply(each.message).status == 404


def rewritten(message: Message) -> Message | None:
    """What our router would have said."""
    route, again = message.route, stamp(message)
    namespace, _, topic = route.resource.partition("/")
    match route.operation:
        case "publish":
            return router.publish(again, route.resource, message.value())
        case "subscribe":
            return router.subscribe(again, namespace, topic)
        case "unsubscribe":
            return router.unsubscribe(again, namespace, topic)
        case "start":
            return router.allow_url(again, route.resource)
        case "stop":
            return router.forbid_url(again, route.resource)
        case "response":
            asked = BY_ID[message.header.parent_msg_id].message
            return router.answer_upload(asked, again, message.value())
    return None


def test_what_else_the_router_says_is_written_as_it_does() -> None:
    seen = set()
    for each in some(lambda one: one.down and one.message.route.group == "user", 30):
        written = rewritten(each.message)
        if written is not None:
            assert same(written, each)
            seen.add(each.message.route.operation)
    assert len(seen) == 6


def test_uploads_are_read_whatever_form_they_have() -> None:
    payloads = {
        (each.message.route.source, router.read_payload(each.message))
        for each in some(lambda one: router.is_upload(one.message), 4)
    }
    assert payloads >= {("bus", b'{"topic":"test","temp":1}'), ("bus", b'{"temp":1}')}


def test_upgrades_are_asked_for_as_edgecore_does() -> None:
    found = [
        line["upgrade"]
        for line in lines("edge-to-cloudhub.jsonl")
        if "request" in line.get("upgrade", {})
    ]
    assert len(found) >= 4
    for upgrade in found:
        sent = {name.lower(): value for name, value in upgrade["headers"]}
        ours = session.upgrade_headers(sent["project_id"], sent["node_id"])
        assert {name.lower(): value for name, value in ours}.items() <= sent.items()
        path = session.upgrade_path(sent["project_id"], sent["node_id"])
        assert upgrade["request"] == f"GET {path} HTTP/1.1"


def raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
