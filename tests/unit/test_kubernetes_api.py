"""What an API server and MetaServer answer is read field by field, as it was recorded."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import msgspec
import pytest
from captured import lines, pairs
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.kubernetes_api.events import (
    EventType,
    read_bookmark,
    read_error,
    read_event,
)
from edgemesh.wire.kubernetes_api.lists import read_list
from edgemesh.wire.kubernetes_api.objects import ApiContentError, read_object
from edgemesh.wire.kubernetes_api.status import Failure, is_api_server, read_status, retry_after
from edgemesh.wire.lines import LineSplitter

PAIRS = pairs()
LISTS = [pair for pair in PAIRS if isinstance(pair["body"], dict) and "items" in pair["body"]]
FAILURES = [pair for pair in PAIRS if pair["status"] >= 400]
EVENTS = [line for line in lines("kube-watch.jsonl") if "type" in line.get("line", ())]
SERVED = "API server"


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def headers(pair: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in pair["headers"].items()}


def test_the_recordings_hold_what_they_are_said_to() -> None:
    assert len(LISTS) > 40
    assert len(FAILURES) > 30
    assert len(EVENTS) > 60


@pytest.mark.parametrize("pair", LISTS, ids=lambda pair: pair["name"])
def test_every_recorded_list_is_read_as_it_stands(pair: dict[str, Any]) -> None:
    body = pair["body"]
    metadata = body.get("metadata") or {}
    page = read_list(encoded(body))
    assert [msgspec.json.decode(item) for item in page.items] == body["items"]
    assert page.revision == metadata.get("resourceVersion", "")
    assert page.following == metadata.get("continue", "")


@pytest.mark.parametrize("pair", LISTS, ids=lambda pair: pair["name"])
def test_a_list_is_local_where_metaserver_did_not_ask_its_cloud(pair: dict[str, Any]) -> None:
    # What an API server says is never local; of MetaServer's it shows in two ways.
    metadata = pair["body"].get("metadata")
    expected = metadata is None or "selfLink" in metadata
    assert read_list(encoded(pair["body"])).local is expected
    assert not (expected and pair["session"].startswith(SERVED))


@pytest.mark.parametrize("pair", LISTS, ids=lambda pair: pair["name"])
def test_items_of_recorded_lists_are_complete_objects(pair: dict[str, Any]) -> None:
    version, kind = pair["body"]["apiVersion"], pair["body"]["kind"].removesuffix("List")
    for raw, item in zip(
        read_list(encoded(pair["body"])).items, pair["body"]["items"], strict=True
    ):
        assert read_object(raw, version, kind) == {"apiVersion": version, "kind": kind} | item


@pytest.mark.parametrize("pair", FAILURES, ids=lambda pair: pair["name"])
def test_every_recorded_failure_is_told_by_code_reason_and_message(pair: dict[str, Any]) -> None:
    body = pair["body"]
    if isinstance(body, str):
        expected = Failure(pair["status"], "", " ".join(body.split()))
        failure = read_status(body.encode(), pair["status"])
    else:
        expected = Failure(pair["status"], body.get("reason", ""), body["message"])
        failure = read_status(encoded(body), pair["status"])
    assert failure == expected


@pytest.mark.parametrize("line", EVENTS, ids=lambda line: f"{line['watch']} {line['t']}")
def test_every_recorded_event_is_read_as_it_stands(line: dict[str, Any]) -> None:
    sent = line["line"]
    event = read_event(encoded(sent))
    assert event.type == sent["type"]
    assert msgspec.json.decode(event.object) == sent["object"]
    metadata = sent["object"].get("metadata", {})
    if event.type is EventType.BOOKMARK:
        bookmark = read_bookmark(event)
        assert bookmark.revision == metadata["resourceVersion"]
        assert bookmark.ends_list is ("annotations" in metadata)
    elif event.type is EventType.ERROR:
        assert read_error(event) == Failure(410, "Expired", sent["object"]["message"])
    else:
        body = read_object(event.object, "v0", "Nothing")
        assert body == sent["object"]


def test_the_server_tells_itself_by_headers_that_metaserver_does_not_pass_on() -> None:
    for pair in PAIRS:
        granted = pair["status"] < 400
        if granted and pair["session"].startswith(SERVED):
            assert is_api_server(headers(pair)), pair["name"]
        if not pair["session"].startswith(SERVED):
            assert not is_api_server(headers(pair)), pair["name"]


def test_an_audit_id_tells_an_api_server_too() -> None:
    assert is_api_server({"audit-id": "7b2c"})


def test_retry_after_is_read_in_seconds() -> None:
    (asked,) = [pair for pair in PAIRS if "Retry-After" in pair["headers"]]
    assert retry_after(headers(asked)) == 1.0
    assert retry_after({}) == 0.0


@pytest.mark.parametrize(
    "value", ["Sun, 22 Nov 2026 06:55:31 GMT", "-1", "1.5", "", "²", "9999999999", "nan"]
)
def test_retry_after_in_other_words_is_no_wish(value: str) -> None:
    assert retry_after({"retry-after": value}) == 0.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"\xff"',
        b'{"kind":"Service","metadata":{}}',
        b'{"kind":"ServiceList","items":{}}',
        b'{"kind":"ServiceList","metadata":{"resourceVersion":5}}',
        b"[" * 5000,
    ],
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(ApiContentError):
        read_list(data)


def test_a_list_without_items_is_empty() -> None:
    data = b'{"kind":"RuleList","metadata":{"resourceVersion":"5"},"items":null}'
    assert read_list(data).items == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"5",
        b"{}",
        b'{"metadata":5}',
        b'{"metadata":{"name":""}}',
        b'{"metadata":{"name":5}}',
        b'{"metadata":{"name":"a","namespace":null}}',
        b'{"metadata":{"name":"a","uid":5}}',
        b'{"metadata":{"name":"a","resourceVersion":5}}',
        b'{"metadata":' * 5000,
    ],
)
def test_what_is_no_object_with_a_name_is_refused(data: bytes) -> None:
    with pytest.raises(ApiContentError):
        read_object(data, "v1", "Service")


def test_the_bookkeeping_of_managed_fields_is_dropped() -> None:
    sent = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}], "x": 1}}
    assert read_object(encoded(sent), "v1", "Service") == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a", "x": 1},
    }


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"5", b'{"type":"ADDED"}', b'{"type":"MOVED","object":{}}', b'{"type":']
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ApiContentError):
        read_event(line)


def test_a_bookmark_without_a_revision_is_refused() -> None:
    event = read_event(b'{"type":"BOOKMARK","object":{"metadata":{}}}')
    with pytest.raises(ApiContentError):
        read_bookmark(event)


def test_a_failure_is_told_in_one_line() -> None:
    assert str(Failure(410, "Expired", "too old")) == "410 Expired: too old"
    assert str(Failure(500, "", "no")) == "500: no"
    assert read_status(b"", 502) == Failure(502, "", "no reason given")
    assert read_status(b'{"kind":"Status"}', 503) == Failure(503, "", "no reason given")


@given(cuts=st.lists(st.integers(0, 200_000), max_size=20))
def test_a_recorded_watch_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    stream = b"".join(encoded(line["line"]) + b"\n" for line in EVENTS)
    places = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    splitter = LineSplitter(1 << 20)
    read = [
        line
        for start, end in itertools.pairwise(places)
        for line in splitter.feed(stream[start:end])
    ]
    assert [json.loads(line or b"") for line in read] == [line["line"] for line in EVENTS]


@given(data=st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    read_status(data, 500)
    for reader in (read_list, read_event, lambda bytes_: read_object(bytes_, "v1", "Pod")):
        with contextlib.suppress(ApiContentError):
            reader(data)
