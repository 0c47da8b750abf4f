from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.message import (
    Header,
    Message,
    MessageError,
    ResourcePath,
    Route,
    decode_message,
    encode_content,
    encode_message,
)

FULL = (
    b'{"header":{"msg_id":"a","parent_msg_id":"b","timestamp":1,"resourceversion":"7","sync":true,'
    b'"type":"t"},"route":{"source":"s","destination":"d","group":"meta","operation":"query",'
    b'"resource":"default/service/web"},"content":{"x":[1,2]}}'
)


def test_a_message_is_written_as_it_was_read() -> None:
    assert encode_message(decode_message(FULL)) == FULL


def test_empty_fields_are_left_out_as_go_leaves_them_out() -> None:
    message = Message(header=Header(msg_id="a", timestamp=5), route=Route(operation="query"))
    assert encode_message(message) == (
        b'{"header":{"msg_id":"a","timestamp":5},"route":{"operation":"query"},"content":null}'
    )


def test_unknown_fields_pass_through_wherever_they_stand() -> None:
    line = (
        b'{"header":{"msg_id":"a","timestamp":1,"trace":{"id":1}},"route":{"zone":"z"},'
        b'"content":"OK","extra":[true]}'
    )
    assert encode_message(decode_message(line)) == line


def test_content_that_is_absent_is_null() -> None:
    assert decode_message(b'{"header":{"msg_id":"a","timestamp":1},"route":{}}').value() is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"hello", "not a Message"),
        (b"[]", "not a Message"),
        (b'{"route":{}}', "header"),
        (b'{"header":{"timestamp":1},"route":{}}', "msg_id"),
        (b'{"header":{"msg_id":"a","timestamp":"now"},"route":{}}', "timestamp"),
        (b'{"header":{"msg_id":"a","timestamp":1}}', "route"),
        (b'{"header":{"msg_id":"a","timestamp":1},"route":{"operation":3}}', "operation"),
        (b"[" * 100_000, "not a Message"),
    ],
)
def test_what_is_no_message_is_refused_by_name(line: bytes, named: str) -> None:
    with pytest.raises(MessageError, match=named):
        decode_message(line)


def test_content_nested_beyond_reason_is_refused() -> None:
    message = Message(
        header=Header(msg_id="a", timestamp=1),
        route=Route(),
        content=msgspec.Raw(b"[" * 100_000 + b"]" * 100_000),
    )
    with pytest.raises(MessageError, match="content"):
        message.value()


@pytest.mark.parametrize("text", ["default/service/web", "null/node", "all/all"])
def test_a_resource_is_namespace_type_and_perhaps_name(text: str) -> None:
    assert str(ResourcePath.parse(text)) == text


@pytest.mark.parametrize("text", ["", "service", "a//b", "a/b/c/d", "/service/web"])
def test_a_resource_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="resource"):
        ResourcePath.parse(text)


def test_a_message_knows_its_resource() -> None:
    assert decode_message(FULL).resource == ResourcePath("default", "service", "web")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    content=json_values,
    parent=st.text(),
    sync=st.booleans(),
    unknown=st.dictionaries(st.text().map(lambda text: f"x-{text}"), json_values, max_size=3),
)
def test_every_message_survives_the_wire(
    content: Any, parent: str, sync: bool, unknown: dict[str, Any]
) -> None:
    message = Message(
        header=Header(msg_id="a", parent_msg_id=parent, timestamp=1, sync=sync),
        route=Route(resource="all/all"),
        content=encode_content(content),
        unknown={"header": {key: encode_content(value) for key, value in unknown.items()}},
    )
    line = encode_message(message)
    assert b"\n" not in line
    read = decode_message(line)
    assert (read.header, read.route, read.value()) == (message.header, message.route, content)
    header = json.loads(line)["header"]
    assert {key: header[key] for key in unknown} == unknown
