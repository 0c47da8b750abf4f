"""The ClientHello is read as RFC 8446, 6066 and 7301 lay it out, and only so."""

from __future__ import annotations

import ssl

import pytest
from hello_bytes import (
    RANDOM,
    TLS_1_2,
    TLS_1_3,
    alpn,
    hello_body,
    in_records,
    openssl_hello,
    sni,
    supported_versions,
    vector,
)
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.client_hello import ClientHello, NotClientHello, read_client_hello


def read(body: bytes) -> ClientHello | None:
    return read_client_hello(in_records(body))


def test_openssl_s_hello_tells_name_alpn_and_versions() -> None:
    assert read_client_hello(openssl_hello("Web.Default.Example", ("h2", "http/1.1"))) == (
        ClientHello("web.default.example", ("h2", "http/1.1"), (TLS_1_3, TLS_1_2))
    )


def test_a_tls_1_2_hello_offers_its_legacy_version() -> None:
    hello = read_client_hello(openssl_hello(highest=ssl.TLSVersion.TLSv1_2))
    assert hello == ClientHello(versions=(TLS_1_2,))


def test_a_hello_without_an_extension_block_has_no_name() -> None:
    assert read(hello_body(None)) == ClientHello(versions=(TLS_1_2,))


def test_grease_is_left_out() -> None:
    body = hello_body(
        [
            (0x0A0A, b""),
            alpn(b"\x1a\x1a", b"h2"),
            supported_versions(0x2A2A, TLS_1_3),
            (0xFAFA, b"\0"),
        ],
        suites=b"\x3a\x3a\x13\x01",
    )
    assert read(body) == ClientHello(alpn=("h2",), versions=(TLS_1_3,))


def test_names_of_other_types_are_passed_over() -> None:
    assert read(hello_body([sni((7, b"\0\xff"), (0, b"web"))])) == ClientHello(
        "web", versions=(TLS_1_2,)
    )


def test_what_follows_the_hello_in_its_record_is_not_looked_at() -> None:
    body = hello_body()
    record = b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, body) + b"more")
    assert read_client_hello(record) == read(body)


@given(st.lists(st.integers(1, 600)))
def test_records_may_cut_a_hello_anywhere(cuts: list[int]) -> None:
    whole = openssl_hello("web.default", ("h2",))
    assert read_client_hello(in_records(whole[9:], cuts)) == read_client_hello(whole)


def test_every_prefix_of_a_hello_needs_more() -> None:
    hello = openssl_hello("web.default")
    for size in range(len(hello)):
        assert read_client_hello(hello[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x15",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x05\x02",
    ],
    ids=[
        "alert record",
        "major version 2",
        "minor version 5",
        "empty fragment",
        "fragment above 2^14",
        "ServerHello",
    ],
)
def test_what_breaks_the_framing_is_refused_at_the_first_byte_that_does(data: bytes) -> None:
    with pytest.raises(NotClientHello):
        read_client_hello(data)
    assert read_client_hello(data[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x2c\x01" + (40).to_bytes(3),
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
    ],
    ids=["a body too short to be one", "SSLv2 hello"],
)
def test_what_cannot_be_a_hello_is_refused_before_it_is_whole(data: bytes) -> None:
    with pytest.raises(NotClientHello):
        read_client_hello(data)


def test_a_record_of_another_type_between_fragments_is_refused() -> None:
    record = in_records(hello_body(), [20])
    with pytest.raises(NotClientHello):
        read_client_hello(record[: 5 + 20] + b"\x17" + record[5 + 20 + 1 :])


@pytest.mark.parametrize(
    "body",
    [
        hello_body(session=bytes(33)),
        hello_body(suites=b"\x13\x01\x13"),
        hello_body(suites=b""),
        hello_body(compression=b""),
        hello_body(None, session=bytes(2)) + b"\0",
        hello_body() + b"\0",
        hello_body([sni((0, b"a")), sni((0, b"b"))]),
        hello_body([(0, b"")]),
        hello_body([(0, vector(2, b""))]),
        hello_body([(0, sni((0, b"web"))[1] + b"\0")]),
        hello_body([sni((0, b""))]),
        hello_body([sni((0, b"a"), (0, b"b"))]),
        hello_body([sni((0, b"we b"))]),
        hello_body([sni((0, b"w\xc3\xa9b"))]),
        hello_body([sni((0, b"a" * 256))]),
        hello_body([(0, vector(2, b"\0\0\x09web"))]),
        hello_body([alpn()]),
        hello_body([alpn(b"")]),
        hello_body([(43, b"\x02\x03\x04\0")]),
        hello_body([(43, b"\x03\x03\x04\x03")]),
        hello_body([(43, b"\0")]),
        TLS_1_2.to_bytes(2) + RANDOM + vector(1, b"") + b"\xff\xff" + bytes(8),
    ],
    ids=[
        "session of 33 bytes",
        "odd suites",
        "no suites",
        "no compression",
        "half an extension length",
        "bytes after the extensions",
        "two server_name extensions",
        "empty server_name extension",
        "empty name list",
        "bytes after the name list",
        "empty name",
        "two host names",
        "space in a name",
        "name beyond ASCII",
        "name of 256 bytes",
        "name beyond its list",
        "empty protocol list",
        "empty protocol",
        "bytes after the versions",
        "half a version",
        "no versions",
        "suites beyond the body",
    ],
)
def test_a_body_that_breaks_a_rule_is_refused(body: bytes) -> None:
    with pytest.raises(NotClientHello):
        read(body)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_a_mutated_hello_is_read_refused_or_unfinished_and_never_anything_else(
    position: int, mutation: bytes
) -> None:
    hello = openssl_hello("web.default", ("h2", "http/1.1"))
    mutated = hello[:position] + mutation + hello[position + len(mutation) :]
    try:
        found = read_client_hello(mutated)
    except NotClientHello:
        return
    assert found is None or isinstance(found, ClientHello)


@given(st.binary())
def test_any_body_is_read_or_refused(content: bytes) -> None:
    body = TLS_1_2.to_bytes(2) + RANDOM + content
    try:
        found = read(body)
    except NotClientHello:
        return
    assert found is not None
