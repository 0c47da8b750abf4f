"""What goes from one hop to the next, and heads that are written anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.routes import HeaderChanges
from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.heads import RequestHead, ResponseHead
from edgemesh.wire.http1.reader import HeadReader
from edgemesh.wire.http1.rebuild import may_change, rebuild_request, rebuild_response

READER = HeadReader(HttpSettings())


def written(first: str, *fields: str) -> bytes:
    return "\r\n".join([first, *fields, "", ""]).encode("latin-1")


def request(*fields: str, first: str = "GET /a HTTP/1.1") -> RequestHead:
    head = READER.read_request(written(first, "Host: web", *fields))
    assert head is not None
    return head


def response(*fields: str, status: int = 200) -> ResponseHead:
    head = READER.read_response(written(f"HTTP/1.1 {status} OK", *fields))
    assert head is not None
    return head


@pytest.mark.parametrize(
    "fields",
    [
        ["Connection: close"],
        ["Connection: keep-alive"],
        ["Connection: Keep-Alive, close"],
        ["Connection: upgrade", "Upgrade: websocket"],
        ["Connection: keep-alive, Upgrade", "Upgrade: websocket, other/1"],
        ["TE: trailers"],
        ["Connection: TE", "TE: Trailers"],
        ["Trailer: Checksum"],
        ["Connection:"],
    ],
)
def test_what_holds_for_the_next_hop_too_goes_on_as_it_came(fields: list[str]) -> None:
    head = request(*fields)
    assert head.raw_is_forwardable
    assert head.forwarded is head.raw


@pytest.mark.parametrize(
    ("fields", "forwarded"),
    [
        (["Keep-Alive: timeout=5", "A: b"], ["A: b"]),
        (["Proxy-Connection: keep-alive", "A: b"], ["A: b"]),
        (["Connection: x-hop", "X-Hop: 1", "A: b"], ["A: b"]),
        (["connection: Close, X-Hop", "X-HOP: 1", "x-hop: 2"], ["connection: Close"]),
        (
            ["A: b", "Connection: x", "C: d", "Connection: close"],
            ["A: b", "Connection: close", "C: d"],
        ),
        (["Connection: absent"], []),
        (["Connection: upgrade"], []),
        (["Upgrade: websocket"], []),
        (["Connection: close", "Upgrade: websocket"], ["Connection: close"]),
        (["Connection: upgrade, http2-settings", "Upgrade: h2c", "HTTP2-Settings: AA"], []),
        (["Connection: upgrade", "Upgrade: websocket, H2C"], []),
        (["TE: gzip"], []),
        (["Connection: TE", "TE: trailers, gzip"], []),
        (["Connection: keep-alive, , TE", "TE: deflate"], ["Connection: keep-alive"]),
        (["Connection: " + "a" * 200, "A: b"], ["A: b"]),
    ],
)
def test_what_is_for_one_hop_only_is_taken_out(fields: list[str], forwarded: list[str]) -> None:
    head = request(*fields)
    assert not head.raw_is_forwardable
    assert head.forwarded == written("GET /a HTTP/1.1", "Host: web", *forwarded)
    assert rebuild_request(head) == head.forwarded
    assert len(head.headers) == 1 + len(fields)


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        (["Connection: Upgrade", "Upgrade: websocket"], "websocket"),
        (["Upgrade: websocket"], ""),
        (["Connection: upgrade", "Upgrade: h2c"], ""),
        (["Connection: upgrade"], ""),
    ],
)
def test_an_upgrade_is_one_only_if_connection_says_so(fields: list[str], upgrade: str) -> None:
    assert request(*fields).upgrade == upgrade


def test_http_1_0_knows_no_upgrade() -> None:
    head = request("Connection: upgrade", "Upgrade: websocket", first="GET /a HTTP/1.0")
    assert head.upgrade == ""
    assert head.forwarded == written("GET /a HTTP/1.0", "Host: web")


@pytest.mark.parametrize(
    ("first", "connection", "keep_alive"),
    [
        ("GET / HTTP/1.1", "", True),
        ("GET / HTTP/1.1", "CLOSE", False),
        ("GET / HTTP/1.1", "x, close", False),
        ("GET / HTTP/1.1", "keep-alive, close", False),
        ("GET / HTTP/1.0", "", False),
        ("GET / HTTP/1.0", "Keep-Alive", True),
        ("GET / HTTP/1.0", "keep-alive, close", False),
    ],
)
def test_it_is_told_whether_another_request_may_follow(
    first: str, connection: str, *, keep_alive: bool
) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    assert request(*fields, first=first).keep_alive is keep_alive


def test_an_upgrade_in_a_response_means_something_with_101_and_426_only() -> None:
    fields = ["Connection: upgrade", "Upgrade: websocket"]
    for status in (101, 426):
        head = response(*fields, status=status)
        assert (head.upgrade, head.raw_is_forwardable) == ("websocket", True)
    head = response(*fields)
    assert (head.upgrade, head.forwarded) == ("", written("HTTP/1.1 200 OK"))


def test_a_response_loses_what_is_for_one_hop_only() -> None:
    head = response("Server: a", "Keep-Alive: timeout=5", "Connection: keep-alive")
    assert not head.raw_is_forwardable
    rebuilt = written("HTTP/1.1 200 OK", "Server: a", "Connection: keep-alive")
    assert rebuild_response(head) == head.forwarded == rebuilt


def test_fields_are_removed_then_set_then_added_as_they_were_spelled() -> None:
    changes = HeaderChanges(
        remove=("x-gone", "x-missing"),
        set=(("x-set", "new"), ("x-new", "1")),
        add=(("x-added", "2"), ("x-set", "more")),
    )
    head = request("X-SET: old", "X-Gone: 1", "x-Set: older", "X-gone: 2", "X-Stays:3")
    assert rebuild_request(head, changes=[changes]) == written(
        "GET /a HTTP/1.1",
        "Host: web",
        "X-SET: new",
        "X-Stays:3",
        "x-new: 1",
        "x-added: 2",
        "x-set: more",
    )


def test_changes_come_one_after_the_other_and_extra_fields_last() -> None:
    changes = [HeaderChanges(add=(("a", "1"),)), HeaderChanges(set=(("a", "2"),))]
    assert rebuild_response(
        response("Server: x"), changes=changes, extra=[("connection", "close")]
    ) == written("HTTP/1.1 200 OK", "Server: x", "a: 2", "connection: close")


def test_target_and_host_can_be_rewritten() -> None:
    rebuilt = rebuild_request(request("A: b"), target="/c?d", host="other:81")
    assert rebuilt == written("GET /c?d HTTP/1.1", "Host: other:81", "A: b")


def test_a_host_is_added_where_there_was_none() -> None:
    head = READER.read_request(b"GET / HTTP/1.0\r\n\r\n")
    assert head is not None
    assert rebuild_request(head, host="web") == b"GET / HTTP/1.0\r\nhost: web\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/a b", "/a%20b"),
        ("/a#b", "/a%23b"),
        ("/\r\nHost: x", "/%0D%0AHost:%20x"),
        ("/%20?a=%3f", "/%20?a=%3f"),
        ("/\u20ac", "/%E2%82%AC"),
        ("/caf\xe9", "/caf\xe9"),
    ],
)
def test_what_a_target_cannot_hold_is_percent_encoded(target: str, sent: str) -> None:
    first = rebuild_request(request(), target=target).split(b"\r\n")[0]
    assert first == f"GET {sent} HTTP/1.1".encode("latin-1")


@pytest.mark.parametrize(
    "changes",
    [
        HeaderChanges(set=(("content-length", "0"),)),
        HeaderChanges(remove=("transfer-encoding", "content-length", "host")),
        HeaderChanges(add=(("transfer-encoding", "chunked"), ("host", "other"))),
        HeaderChanges(set=(("connection", "close"), ("upgrade", "h2c"))),
        HeaderChanges(add=(("a", "b\r\nContent-Length: 0"),)),
        HeaderChanges(set=(("a\r\nb", "c"), ("", "d"), ("e", "\u20ac"))),
    ],
)
def test_no_policy_changes_where_a_message_ends(changes: HeaderChanges) -> None:
    head = request("Content-Length: 5")
    assert rebuild_request(head, changes=[changes]) == head.raw


def test_a_policy_may_set_the_host() -> None:
    rebuilt = rebuild_request(request(), changes=[HeaderChanges(set=(("host", "other"),))])
    assert rebuilt == written("GET /a HTTP/1.1", "Host: other")
    assert may_change("host", "other")


@pytest.mark.parametrize("host", ["a b", "a\r\nb: c", "a/b"])
def test_what_is_no_host_does_not_become_one(host: str) -> None:
    head = request()
    assert rebuild_request(head, host=host) == head.raw
    assert rebuild_request(head, changes=[HeaderChanges(set=(("host", host),))]) == head.raw


NAMES = st.sampled_from(("a", "b", "host", "content-length", "te", "x y", ""))
VALUES = st.sampled_from(("1", "", "\xe9", "2\r\nc: d", "\u20ac", " "))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=3).map(tuple)


@given(st.builds(HeaderChanges, st.lists(NAMES, max_size=3).map(tuple), PAIRS, PAIRS))
def test_a_changed_head_is_always_a_valid_one(changes: HeaderChanges) -> None:
    head = request("A: 1", "B: 2", "a: 3", "Content-Length: 5")
    again = READER.read_request(rebuild_request(head, changes=[changes]))
    assert again is not None
    assert again.content_length == 5
