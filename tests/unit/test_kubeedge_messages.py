"""Messages of KubeEdge that nobody recorded: what is malformed, what comes of any values."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.kubeedge import answers, application, router, session
from edgemesh.wire.message import (
    Group,
    Message,
    MessageError,
    MessageTooLongError,
    NotAnObjectError,
    Operation,
    ResourcePath,
    Stamp,
    decode_frame,
    decode_frames,
    decode_message,
    encode_message,
    join_frames,
    new_message,
)

STAMP = Stamp("id-1", 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3)
    ),
    max_leaves=10,
)
names = st.from_regex(r"[a-z0-9.-]{1,10}", fullmatch=True)


def a_message(
    operation: str = "update",
    resource: str = "default/pod/web",
    content: Any = None,
    *,
    source: str = "edgecontroller",
    group: str = "resource",
    parent: str = "",
    revision: str = "",
) -> Message:
    return new_message(
        STAMP,
        source=source,
        group=group,
        operation=operation,
        resource=resource,
        content=content,
        parent=parent,
        revision=revision,
    )


def again(message: Message) -> Message:
    return decode_message(encode_message(message))


# Frames


def test_a_frame_is_text_or_binary() -> None:
    text = encode_message(a_message())
    assert decode_frame(text.decode(), 1000) == decode_frame(text, 1000) == a_message()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_between_our_own_ends_a_frame_may_have_several_messages(number: int) -> None:
    text = encode_message(a_message()).decode()
    assert decode_frames(join_frames([text] * number), 10_000) == [a_message()] * number


def test_what_is_unknown_in_one_message_of_several_is_kept() -> None:
    plain = encode_message(a_message()).decode()
    odd = plain.replace('{"header":{', '{"later":1,"header":{"newer":2,', 1)
    first, second = decode_frames(join_frames([plain, odd]), 10_000)
    assert first == a_message()
    assert encode_message(second) == encode_message(decode_message(odd.encode()))
    assert second.unknown.keys() == {"", "header"}


@pytest.mark.parametrize("frame", ["[]", "[1]", "[", "x", "[" * 100_000])
def test_an_array_of_no_messages_is_no_frame(frame: str) -> None:
    with pytest.raises(NotAnObjectError):
        decode_frames(frame, 10**6)


def test_a_frame_beyond_the_limit_is_not_looked_into() -> None:
    with pytest.raises(MessageTooLongError, match="more than 10 bytes"):
        decode_frame("x" * 11, 10)
    with pytest.raises(MessageTooLongError, match="of 20 bytes, allowed are 10"):
        decode_frame("ä" * 10, 10)


@pytest.mark.parametrize("frame", ["", "hello", "[]", '"x"', "1", "{", '{"a":"\ud800"}', b"\xff"])
def test_what_is_no_object_is_told_from_what_is_no_message(frame: str | bytes) -> None:
    with pytest.raises(NotAnObjectError):
        decode_frame(frame, 1000)


@pytest.mark.parametrize("frame", ["{}", '{"unknown":1}', '{"header":{},"route":{}}'])
def test_an_object_that_is_no_message_is_named(frame: str) -> None:
    with pytest.raises(MessageError, match="not a Message: header") as refused:
        decode_frame(frame, 1000)
    assert not isinstance(refused.value, NotAnObjectError)


@pytest.mark.parametrize("nest", ["[", '{"a":'])
def test_depth_is_bounded(nest: str) -> None:
    head = '{"header":{"msg_id":"1","timestamp":1},"route":{},"content":'
    with pytest.raises(MessageError):
        decode_frame(head + nest * 100_000, 10**7).value()


def test_bytes_are_written_as_go_writes_them() -> None:
    assert a_message(content=b"hi").value() == "aGk="
    assert a_message(content=msgspec.Raw(b'{"b":1,"a":2}')).content == msgspec.Raw(b'{"b":1,"a":2}')


def test_content_that_is_no_utf_8_is_refused_wherever_it_is_found() -> None:
    text = encode_message(a_message(content="?")).replace(b'"?"', b'"\xff"')
    with pytest.raises(NotAnObjectError):
        decode_frame(text, 1000)
    with pytest.raises(MessageError, match="content: "):
        decode_message(text).value()
    with pytest.raises(NotAnObjectError):
        decode_message(b'{"\xff":1}')


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_frame_is_a_message_or_refused(frame: bytes | str) -> None:
    with pytest.raises(MessageError):
        decode_frame(frame, 1000)


# Session


@given(json_values, st.text(max_size=10), st.text(max_size=10))
def test_an_acknowledgement_names_what_it_acknowledges(
    content: Any, source: str, resource: str
) -> None:
    message = a_message("update", resource, content, source=source)
    acknowledgement = again(session.acknowledge(message, Stamp("id-2", 2)))
    assert session.acknowledged(acknowledgement) == "id-1"
    assert acknowledgement.route.resource == resource
    assert not session.needs_acknowledgement(acknowledgement)


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (a_message("insert"), True),
        (a_message("delete"), True),
        (a_message("update", "default/podlist/web"), False),
        (a_message("update", "default/podpatch/web"), False),
        (a_message("update", "strange"), False),
        (a_message("update", group="user"), False),
        (a_message("response", "default/secret/s", revision="1"), True),
        (a_message("response", "default/secret/s"), False),
        (a_message("response", "default/node/n", revision="1"), False),
        (a_message("applicationResponse", "ignore/Application/ignore"), False),
        (a_message("keepalive", "node"), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else str(value.route.resource),
)
def test_some_messages_need_an_acknowledgement(message: Message, *, needed: bool) -> None:
    assert session.needs_acknowledgement(message) is needed


def test_only_ok_acknowledges() -> None:
    assert not session.acknowledged(a_message("response", content={"Object": None}, parent="x"))
    assert not session.acknowledged(a_message("update", content="OK", parent="x"))


# Answers


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3), st.integers(400, 599))
def test_an_answer_is_read_as_it_was_meant(stored: dict[str, Any], code: int) -> None:
    stored = {"metadata": {}, **stored}
    stored.pop("ErrStatus", None)
    status = answers.failure(code, "Reason", "words")
    request = a_message("query")

    def read(content: Any) -> answers.Answer:
        return answers.read_answer(again(answers.answer(request, STAMP, content)))

    assert read(stored) == (stored, None)
    assert read(answers.error(status)) == (None, status)
    assert read(answers.outcome(stored)) == (stored, None)
    assert read(answers.outcome(None, status)) == (None, status)
    assert read(answers.error(status)).not_found is (code == 404)
    assert not read(stored).not_found


@pytest.mark.parametrize("content", [None, [], 1, "x", {"ErrStatus": 1}, {"Object": 1, "Err": 1}])
def test_an_answer_of_another_form_is_named(content: Any) -> None:
    with pytest.raises(MessageError, match=r"neither an object nor an error|is none"):
        answers.read_answer(a_message("response", content=content))


@pytest.mark.parametrize("content", [None, {}, "x", "[]", "[" * 100_000])
def test_a_patch_of_another_form_is_named(content: Any) -> None:
    with pytest.raises(MessageError, match="not JSON in a string"):
        answers.read_patch(a_message("patch", content=content))


@pytest.mark.parametrize("namespace", ["", "null"])
def test_a_tombstone_of_what_is_in_no_namespace_names_none(namespace: str) -> None:
    assert answers.tombstone(namespace, "a", "1") == {"metadata": {"name": "a", "uid": "1"}}


def test_a_push_carries_its_revision() -> None:
    path = ResourcePath("null", "node", "a")
    message = answers.push(STAMP, Operation.INSERT, path, {}, revision="7")
    assert message.header.resourceversion == "7"
    assert (message.route.source, message.route.resource) == ("edgecontroller", "null/node/a")


# Applications


@given(names, st.sampled_from(list(application.Verb)), st.binary(max_size=20), names)
def test_an_application_has_the_id_of_its_question(
    node: str, verb: str, body: bytes, subresource: str
) -> None:
    key = str(application.AppKey("apps", "v1", "deployments", "default", "web"))
    asked = application.new_application(node, key, verb, body=body, subresource=subresource)
    same = application.new_application(node, key, verb, body=body, subresource=subresource)
    other = application.new_application(node, key, verb, body=body + b"x", subresource=subresource)
    assert asked.id == same.id != other.id
    sent = again(application.ask(asked, STAMP))
    assert application.is_application(sent)
    assert application.read_application(sent) == asked


@given(*[names.filter(lambda name: name not in {"null", "core"})] * 3)
def test_a_key_is_read_as_it_was_written(resource: str, namespace: str, name: str) -> None:
    for key in (
        application.AppKey("", "v1", resource, namespace, name),
        application.AppKey("x.io", "v1", resource, namespace),
        application.AppKey("x.io", "v1", resource),
    ):
        assert application.AppKey.parse(str(key)) == key


def test_bodies_of_applications_are_json_objects_in_base64() -> None:
    asked = application.new_application("a", "/version", "get", body=b'{"x":1}')
    done = application.approve(asked, b'{"y":2}')
    assert (done.options(), done.request(), done.response()) == ({}, {"x": 1}, {"y": 2})
    assert application.approve(asked, None).response_body is None
    for body in (b"[]", b"{", b"[" * 100_000):
        with pytest.raises(MessageError, match="RespBody is no JSON object in base64"):
            application.approve(asked, body).response()
    with pytest.raises(MessageError, match="Option is no JSON"):
        msgspec.structs.replace(asked, option="%").options()
    with pytest.raises(MessageError, match="ReqBody is no JSON"):
        msgspec.structs.replace(asked, request_body=None).request()


def test_a_rejected_application_says_why() -> None:
    asked = application.new_application("a", "/version", "get")
    assert application.reject(asked, "words").error_status is None
    status = answers.not_found("services", "x")
    rejected = application.reject(asked, status=status)
    assert (rejected.status, rejected.error_status) == ("Rejected", status)
    assert msgspec.structs.replace(asked, error={"ErrStatus": 1}).error_status is None


@pytest.mark.parametrize("content", [None, [], {"ID": 1}, {"ID": ""}])
def test_what_is_no_application_is_named(content: Any) -> None:
    message = a_message("null", "null", content, source="metaserver", group=Group.DYNAMIC)
    with pytest.raises(MessageError, match="not an Application"):
        application.read_application(message)
    with pytest.raises(MessageError, match="not an Application"):
        application.read_watches(a_message(content=[content]))


# Router

headers = st.dictionaries(
    st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2), max_size=3
)


@given(st.sampled_from(["GET", "POST"]), st.integers(1, 65535), headers, st.binary(max_size=30))
def test_a_call_arrives_as_it_was_meant(
    method: str, port: int, fields: dict[str, list[str]], body: bytes
) -> None:
    call = router.Call(method, router.CallTarget(port, "/a:b/c?d=e:f"), fields, body)
    message = again(router.call(STAMP, call))
    assert router.is_call(message)
    assert router.read_call(message) == call
    assert not router.is_upload(message)
    answered = router.Reply(200, fields, body)
    reply = again(router.reply(message, STAMP, answered))
    assert router.is_reply(reply)
    assert not router.is_upload(reply)
    assert router.read_reply(reply) == answered


@pytest.mark.parametrize("text", ["", "80", ":/a", "0:/a", "65536:/a", "x:/a", "80:a", "²:/a"])
def test_a_target_without_port_or_path_is_named(text: str) -> None:
    with pytest.raises(MessageError, match="is not PORT:/PATH"):
        router.CallTarget.parse(text)


def test_a_call_of_another_form_is_named() -> None:
    with pytest.raises(MessageError, match="not a call"):
        router.read_call(a_message("GET", "80:/", 1))
    with pytest.raises(MessageError, match="the body is not base64"):
        router.read_call(a_message("GET", "80:/", {"body": "%"}))
    assert router.read_call(a_message("GET", "80:/", {})).method == "GET"


def test_a_reply_of_another_form_is_named() -> None:
    for content in (1, {"status_code": 0}, {"status_code": 5000}, {"status_code": "x"}):
        with pytest.raises(MessageError, match="not an answer to a call"):
            router.read_reply(a_message("upload", content=content))
    bare = router.read_reply(a_message("upload", content={"status_code": 204, "body": None}))
    assert bare == router.Reply(204, {}, b"")


def test_headers_are_gathered_as_go_does() -> None:
    fields = [("x-b", "2"), ("CONTENT-type", "t"), ("X-B", "1")]
    gathered = router.gather_headers(fields)
    assert list(gathered.items()) == [("Content-Type", ["t"]), ("X-B", ["2", "1"])]


@given(st.binary(max_size=30))
def test_an_upload_arrives_as_it_was_meant(payload: bytes) -> None:
    message = again(router.upload(STAMP, router.EVENTBUS, "default/topic", payload))
    assert router.is_upload(message)
    assert message.value() == base64.b64encode(payload).decode()
    assert router.read_payload(message) == payload


def test_a_payload_that_is_no_base64_is_taken_as_it_is() -> None:
    assert router.read_payload(a_message("upload", content="plain text")) == b"plain text"
    assert router.read_payload(a_message("upload", content="ä")) == "ä".encode()
    assert router.read_payload(a_message("upload", content={"a": 1})) == b'{"a":1}'
