"""RFC 9113 section 8: what is a request, and what a client is told that sends something else."""

from __future__ import annotations

import pytest
from http2_frames import END, GET, POST, WHOLE, block, data, from_client, greeted, headers, split

from edgemesh.wire.http2 import codes
from edgemesh.wire.http2.frames import header_frames

MALFORMED = ["RST_STREAM 1 PROTOCOL_ERROR"]
FINE: list[str] = []
Fields = list[tuple[str, str]]


def get(*more: tuple[str, str], **changed: str | None) -> Fields:
    """A GET with other pseudo-header fields (None: without it), and more fields after them."""
    pseudo: dict[str, str | None] = dict(GET)
    pseudo.update({f":{name}": value for name, value in changed.items()})
    return [(name, value) for name, value in pseudo.items() if value is not None] + list(more)


REQUESTS: dict[str, tuple[Fields, list[str]]] = {
    "a GET": (get(), FINE),
    # 8.2.1
    "8.2.1 a capital in a name": (get(("Accept", "*")), MALFORMED),
    "8.2.1 a space in a name": (get(("a b", "c")), MALFORMED),
    "8.2.1 a colon in a name": (get(("a:b", "c")), MALFORMED),
    "8.2.1 an empty name": (get(("", "c")), MALFORMED),
    "8.2.1 a byte above ASCII in a name": (get(("é", "c")), MALFORMED),
    "8.2.1 a control in a name": (get(("a\r", "c")), MALFORMED),
    "8.2.1 a name that needs no cache": (get(("a" * 300, "c")), FINE),
    "8.2.1 CR in a value": (get(("a", "b\rc")), MALFORMED),
    "8.2.1 LF in a value": (get(("a", "b\nc")), MALFORMED),
    "8.2.1 a request line in a value": (get(("a", "b\r\n\r\nGET / HTTP/1.1")), MALFORMED),
    "8.2.1 NUL in a value": (get(("a", "b\0c")), MALFORMED),
    "8.2.1 another control in a value": (get(("a", "b\x01c")), MALFORMED),
    "8.2.1 DEL in a value": (get(("a", "b\x7fc")), MALFORMED),
    "8.2.1 a space before a value": (get(("a", " b")), MALFORMED),
    "8.2.1 a tab after a value": (get(("a", "b\t")), MALFORMED),
    "8.2.1 a tab within a value": (get(("a", "b\tc")), FINE),
    "8.2.1 obs-text in a value": (get(("a", "é")), FINE),
    "8.2.1 an empty value": (get(("a", "")), FINE),
    "8.2.1 a value that needs no cache": (get(("a", "b" * 300)), FINE),
    # 8.2.2
    "8.2.2 connection": (get(("connection", "close")), MALFORMED),
    "8.2.2 keep-alive": (get(("keep-alive", "1")), MALFORMED),
    "8.2.2 proxy-connection": (get(("proxy-connection", "keep-alive")), MALFORMED),
    "8.2.2 transfer-encoding": (get(("transfer-encoding", "chunked")), MALFORMED),
    "8.2.2 upgrade": (get(("upgrade", "h2c")), MALFORMED),
    "8.2.2 te: trailers": (get(("te", "trailers")), FINE),
    "8.2.2 te: gzip": (get(("te", "gzip")), MALFORMED),
    "8.2.2 te: trailers, gzip": (get(("te", "trailers, gzip")), MALFORMED),
    "smuggling: transfer_encoding": (get(("transfer_encoding", "chunked")), MALFORMED),
    "smuggling: content_length": (get(("content_length", "0")), MALFORMED),
    "an underscore elsewhere": (get(("x_y", "1")), FINE),
    # 8.2.3
    "8.2.3 cookies in pieces": (get(("cookie", "a=b"), ("cookie", "c=d")), FINE),
    # 8.3
    "8.3 a pseudo-header field of a response": (get((":status", "200")), MALFORMED),
    "8.3 an unknown pseudo-header field": (get((":foo", "bar")), MALFORMED),
    "8.3 a pseudo-header field after others": (
        [(":method", "GET"), ("a", "b"), (":scheme", "http"), (":path", "/")],
        MALFORMED,
    ),
    "8.3 no pseudo-header fields": ([("a", "b")], MALFORMED),
    "8.3 nothing": ([], MALFORMED),
    # 8.3.1
    "8.3.1 no :method": (get(method=None), MALFORMED),
    "8.3.1 no :scheme": (get(scheme=None), MALFORMED),
    "8.3.1 no :path": (get(path=None), MALFORMED),
    "8.3.1 an empty :path": (get(path=""), MALFORMED),
    "8.3.1 an empty :method": (get(method=""), MALFORMED),
    "8.3.1 an empty :scheme": (get(scheme=""), MALFORMED),
    "8.3.1 :method twice": ([*GET.items(), (":method", "GET")], MALFORMED),
    "8.3.1 :scheme twice": ([*GET.items(), (":scheme", "http")], MALFORMED),
    "8.3.1 :path twice": ([*GET.items(), (":path", "/")], MALFORMED),
    "8.3.1 :authority twice": ([*GET.items(), (":authority", "web")], MALFORMED),
    "8.3.1 a :method with a space": (get(method="GET /"), MALFORMED),
    "8.3.1 a :method of its own": (get(method="PURGE"), FINE),
    "8.3.1 https": (get(scheme="https"), FINE),
    "8.3.1 a :scheme with a space": (get(scheme="http x"), MALFORMED),
    "8.3.1 a :path without a slash": (get(path="index"), MALFORMED),
    "8.3.1 an absolute :path": (get(path="http://web/"), MALFORMED),
    "8.3.1 a :path with a space": (get(path="/ HTTP/1.1"), MALFORMED),
    "8.3.1 a :path with a fragment": (get(path="/a#b"), MALFORMED),
    "8.3.1 a :path with a tab": (get(path="/a\tb"), MALFORMED),
    "8.3.1 a :path with bytes above ASCII": (get(path="/é"), FINE),
    "8.3.1 GET *": (get(path="*"), MALFORMED),
    "8.3.1 OPTIONS *": (get(method="OPTIONS", path="*"), FINE),
    "8.3.1 userinfo in :authority": (get(authority="user@web"), MALFORMED),
    "8.3.1 an empty :authority": (get(authority=""), MALFORMED),
    "8.3.1 a path in :authority": (get(authority="web/x"), MALFORMED),
    "8.3.1 a space in :authority": (get(authority="web x"), MALFORMED),
    "8.3.1 a port in :authority": (get(authority="web:80"), FINE),
    "8.3.1 a port that is none": (get(authority="web:http"), MALFORMED),
    "8.3.1 an IPv6 address": (get(authority="[fd00::1]:80"), FINE),
    "8.3.1 neither :authority nor host": (get(authority=None), MALFORMED),
    "8.3.1 host alone": (get(("host", "web"), authority=None), FINE),
    "8.3.1 host that is :authority": (get(("host", "WEB")), FINE),
    "8.3.1 host that is not :authority": (get(("host", "other")), MALFORMED),
    "8.3.1 host twice": (get(("host", "web"), ("host", "web")), MALFORMED),
    # 8.5, RFC 8441
    "8.5 :protocol, which was not offered": (
        get(method="CONNECT", protocol="websocket"),
        MALFORMED,
    ),
    # RFC 9110 section 8.6
    "content-length 0 and no body": (get(("content-length", "0")), FINE),
    "content-length and no body": (get(("content-length", "1")), MALFORMED),
    "content-length that is no number": (get(("content-length", "x")), MALFORMED),
    "content-length with a sign": (get(("content-length", "+1")), MALFORMED),
    "content-length without end": (get(("content-length", "1" * 19)), MALFORMED),
    "content-length twice": (get(("content-length", "0"), ("content-length", "0")), MALFORMED),
}


@pytest.mark.parametrize(("fields", "told"), REQUESTS.values(), ids=REQUESTS)
def test_what_is_no_request_is_reset_and_goes_nowhere(fields: Fields, told: list[str]) -> None:
    pair = greeted()
    assert from_client(headers(1, fields), pair) == told
    assert len(pair.requests) == (not told)


@pytest.mark.parametrize(("fields", "told"), REQUESTS.values(), ids=REQUESTS)
def test_a_connection_outlives_a_request_that_is_none(fields: Fields, told: list[str]) -> None:
    pair = greeted()
    assert from_client(headers(1, fields) + headers(3), pair) == told
    assert pair.requests[-1].client.id == 3


BODIES = {
    "all that was declared": ("3", [data(1, b"ab"), data(1, b"c", END)], FINE),
    "less": ("3", [data(1, b"ab", END)], MALFORMED),
    "more": ("3", [data(1, b"abcd")], MALFORMED),
    "more in the end": ("3", [data(1, b"abc"), data(1, b"d", END)], MALFORMED),
    "an end without data": ("3", [data(1, b"abc"), data(1, b"", END)], FINE),
    "trailers instead of the rest": ("3", [data(1, b"ab"), headers(1, {"a": "b"})], MALFORMED),
    "trailers after it": ("3", [data(1, b"abc"), headers(1, {"a": "b"})], FINE),
    "padding does not count": ("3", [data(1, b"\2abcxx", END | codes.PADDED)], FINE),
}


@pytest.mark.parametrize(("length", "frames", "told"), BODIES.values(), ids=BODIES)
def test_a_body_is_as_long_as_was_declared(
    length: str, frames: list[bytes], told: list[str]
) -> None:
    head = headers(1, {**POST, "content-length": length}, WHOLE)
    assert from_client(head + b"".join(frames)) == told


TRAILERS = {
    "trailers": ({"a": "b"}, END | WHOLE, FINE),
    "without an end": ({"a": "b"}, WHOLE, MALFORMED),
    "a pseudo-header field": ({":path": "/"}, END | WHOLE, MALFORMED),
    "a whole request": (GET, END | WHOLE, MALFORMED),
    "a pseudo-header field among others": ({"a": "b", ":path": "/"}, END | WHOLE, MALFORMED),
    "a field of the connection": ({"connection": "close"}, END | WHOLE, MALFORMED),
}


@pytest.mark.parametrize(("fields", "flags", "told"), TRAILERS.values(), ids=TRAILERS)
def test_trailers_end_a_request_and_have_no_pseudo_headers(
    fields: dict[str, str], flags: int, told: list[str]
) -> None:
    assert from_client(headers(1, POST, WHOLE) + headers(1, fields, flags)) == told


def statuses(raw: bytes) -> list[bytes]:
    return [one.payload for one in split(raw) if one.kind == codes.HEADERS]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(get(method="CONNECT", scheme=None, path=None), b"501", id="CONNECT"),
        pytest.param(get(("a", "b" * 61440)), b"431", id="a field that is too long"),
        pytest.param(get(*[("a", "b")] * 97), b"431", id="101 fields"),
    ],
)
def test_what_is_not_served_is_answered_with_a_status(fields: Fields, status: bytes) -> None:
    pair = greeted()
    pair.client.receive(header_frames(1, block(fields), end_stream=True), 0.0)
    written = pair.to_client()
    assert pair.client.fault is None
    assert not pair.requests
    (head,) = statuses(written)
    assert status in head


def test_a_body_of_what_is_not_served_is_not_wanted() -> None:
    pair = greeted()
    told = from_client(headers(1, get(method="CONNECT", scheme=None, path=None), WHOLE), pair)
    assert told == ["RST_STREAM 1 NO_ERROR"]
    assert from_client(data(1, b"x"), pair) == []


def test_100_fields_are_not_too_many() -> None:
    assert from_client(headers(1, get(*[("a", "b")] * 96))) == []


def test_a_request_that_names_only_a_host_is_passed_on_with_an_authority() -> None:
    pair = greeted()
    pair.client.receive(headers(1, get(("host", "web:80"), authority=None)), 0.0)
    (request,) = pair.requests
    assert (request.head.authority, request.head.host) == ("web:80", "web")
    assert request.head.block.data.count(b"web:80") == 2
