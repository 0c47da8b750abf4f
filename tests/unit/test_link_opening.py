"""OPEN: what a stream is for, as a Message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.services import Transport
from edgemesh.model.streams import StreamRequest
from edgemesh.wire.link.frames import LinkError
from edgemesh.wire.link.opening import Opening, decode_opening, encode_opening
from edgemesh.wire.message import ResourcePath

REQUEST = StreamRequest(
    "node-b",
    ("default", "web", "TCP", 80),
    "10.244.2.2:8080",
    ("fd00::5", 40001),
    "default/shop",
    Transport.TCP,
)
OPENING = Opening.of(REQUEST, "node-a")
NAMES = st.text(min_size=1, max_size=60).filter(lambda name: "/" not in name)


def encoded(**content: object) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(encode_opening(OPENING, "id", 1))
    said["content"].update(content)
    return said


def test_it_is_a_message_of_beehive() -> None:
    assert json.loads(encode_opening(OPENING, "id", 1700000000000)) == {
        "header": {"msg_id": "id", "timestamp": 1700000000000},
        "route": {
            "source": "node-a",
            "destination": "node-b",
            "group": "mesh",
            "operation": "connect",
            "resource": "default/service/web",
        },
        "content": {
            "port": 80,
            "transport": "TCP",
            "endpoint": "10.244.2.2:8080",
            "client": "[fd00::5]:40001",
            "workload": "default/shop",
            "hops": 0,
        },
    }


@given(
    st.builds(
        Opening,
        NAMES,
        NAMES,
        st.builds(ResourcePath, NAMES, NAMES, NAMES),
        st.integers(1, 65535),
        st.sampled_from(Transport),
        st.text(max_size=50),
        st.text(max_size=50),
        st.text(max_size=50),
        st.integers(0, 255),
    )
)
def test_it_is_read_as_it_was_written(opening: Opening) -> None:
    assert decode_opening(encode_opening(opening, "id", 1)) == opening


def test_the_other_end_sees_the_service_that_is_called() -> None:
    inbound = OPENING.inbound()
    assert inbound.from_node == "node-a"
    assert inbound.port == REQUEST.port
    assert inbound.client == REQUEST.client
    assert inbound.endpoint == REQUEST.endpoint
    assert inbound.workload == "default/shop"


@pytest.mark.parametrize(
    "opening",
    [
        OPENING._replace(resource=ResourcePath("null", "servicebus", "80")),
        OPENING._replace(resource=ResourcePath("default", "service")),
        OPENING._replace(client=""),
        OPENING._replace(client="somewhere:80"),
    ],
)
def test_what_calls_no_service_or_comes_from_nobody_is_no_inbound_stream(opening: Opening) -> None:
    with pytest.raises(ValueError, match=r"."):
        opening.inbound()


def test_names_that_fit_no_frame_are_refused_before_they_are_sent() -> None:
    with pytest.raises(ValueError, match="takes 2"):
        encode_opening(OPENING._replace(workload="x" * 20000), "id", 1)


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        encoded(port=0),
        encoded(port="80"),
        encoded(transport="SCTP"),
        encoded(hops=256),
        {**encoded(), "content": None},
        {**encoded(), "route": {**encoded()["route"], "resource": "web"}},
        {**encoded(), "route": {**encoded()["route"], "operation": "delete"}},
        {**encoded(), "route": {**encoded()["route"], "group": "resource"}},
        {**encoded(), "route": {**encoded()["route"], "source": ""}},
        {**encoded(), "route": {**encoded()["route"], "destination": ""}},
    ],
)
def test_what_opens_no_stream_is_refused(said: object) -> None:
    with pytest.raises(LinkError, match="malformed: OPEN: "):
        decode_opening(json.dumps(said).encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    with pytest.raises(LinkError, match="malformed: OPEN: "):
        decode_opening(payload)
