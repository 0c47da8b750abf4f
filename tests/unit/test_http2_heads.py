"""What a proxy knows of a request or a response, and how it says it again."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.http2 import grpc_fields
from edgemesh.wire.http2.block import Block
from edgemesh.wire.http2.heads import (
    RequestHead,
    ResponseHead,
    Trailers,
    is_authority,
    request_block,
    response_block,
    trailers_block,
)
from edgemesh.wire.http2.hpack_table import Field, SensitiveField

REQUEST: list[Field] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b?c=d&e"),
    (b":authority", b"Web.Default:8080"),
]
OK: list[Field] = [(b":status", b"200")]


def request(*fields: Field) -> RequestHead:
    return RequestHead([*REQUEST, *fields])


def decoded(block: Block) -> list[Field]:
    return [tuple(field) for field in hpack.Decoder().decode(block.data, raw=True)]


def test_a_request_tells_what_routing_wants_to_know() -> None:
    head = request()
    assert (head.method, head.scheme, head.target) == ("POST", "http", "/a/b?c=d&e")
    assert (head.host, head.path, head.query) == ("web.default", "/a/b", "c=d&e")
    assert head.authority == "Web.Default:8080"


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"WEB", "web"), (b"[fd00::A]:80", "[fd00::a]"), (b"[::1]", "[::1]"), (b"web:", "web")],
)
def test_a_host_has_no_port(authority: bytes, host: str) -> None:
    fields = [(name, authority if name == b":authority" else text) for name, text in REQUEST]
    assert RequestHead(fields).host == host


def test_values_are_found_by_name_and_joined() -> None:
    head = request((b"a", b"1"), (b"cookie", b"x=1"), (b"a", b"2"), (b"cookie", b"y=2"))
    assert head.value("a") == "1, 2"
    assert head.value("cookie") == "x=1; y=2"
    assert head.value("b") is None
    assert head.value(":path") is None


def test_headers_are_those_that_are_no_pseudo_headers() -> None:
    assert request((b"a", b"\xe9")).headers == (("a", "é"),)


def test_a_request_is_passed_on_as_it_came() -> None:
    fields = [*REQUEST, (b"te", b"trailers"), (b"a", b""), (b"a", b"x" * 500)]
    assert decoded(RequestHead(fields).block) == fields


def test_a_changed_request_keeps_what_does_not_change() -> None:
    head = request((b"a", b"1"), SensitiveField((b"authorization", b"secret")))
    block = request_block(head, "other", "/new", (*head.headers, ("x-new", "é")))
    found = hpack.Decoder().decode(block.data, raw=True)
    assert [tuple(field) for field in found] == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"other"),
        (b":path", b"/new"),
        (b"a", b"1"),
        (b"authorization", b"secret"),
        (b"x-new", b"\xe9"),
    ]
    secret = found[5]
    assert isinstance(secret, hpack.NeverIndexedHeaderTuple)


def test_a_changed_response_and_trailers_of_our_own_can_be_read() -> None:
    head = ResponseHead([*OK, (b"a", b"1")])
    assert decoded(response_block(201, head.headers, head)) == [(b":status", b"201"), (b"a", b"1")]
    assert decoded(response_block(503, ())) == [(b":status", b"503")]
    assert decoded(trailers_block((("grpc-status", "0"),))) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize(
    ("content_type", "grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"Application/GRPC", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ],
)
def test_grpc_is_known_by_its_content_type(content_type: bytes, *, grpc: bool) -> None:
    assert request((b"content-type", content_type)).is_grpc is grpc


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"250m", 0.25),
        (b"5u", 0.000005),
        (b"99999999n", 0.099999999),
        (b"", None),
        (b"1", None),
        (b"123456789S", None),
        (b"-1S", None),
        (b"1s", None),
    ],
)
def test_a_grpc_timeout_is_read_in_its_unit(text: bytes, seconds: float | None) -> None:
    found = request((b"grpc-timeout", text)).grpc_timeout
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("text", "code"), [(b"0", 0), (b"14", 14), (b"x", 2), (b"", 2)])
def test_a_grpc_status_is_read_from_trailers_and_from_heads(text: bytes, code: int) -> None:
    assert Trailers([(b"grpc-status", text)]).grpc_status == code
    assert ResponseHead([*OK, (b"grpc-status", text)]).grpc_status == code


def test_without_a_grpc_status_there_is_none() -> None:
    assert Trailers([(b"a", b"b")]).grpc_status is None
    assert Trailers([]).value("a") is None


@given(st.text())
def test_a_grpc_message_survives_its_way(message: str) -> None:
    from urllib.parse import unquote

    encoded = grpc_fields.percent_encode(message)
    assert all(" " <= character <= "~" for character in encoded)
    assert unquote(encoded) == message


def test_what_a_request_may_be_for_is_known() -> None:
    assert is_authority("web.default:80")
    assert not is_authority("web default")
    assert not is_authority("wéb")


def test_interim_responses_are_told_from_final_ones() -> None:
    assert ResponseHead([(b":status", b"103")]).is_interim
    assert not ResponseHead(OK).is_interim


def test_a_long_block_is_known_as_one() -> None:
    assert not Block(bytes(16384)).is_long
    assert Block(bytes(16385)).is_long
