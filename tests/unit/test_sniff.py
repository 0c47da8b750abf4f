"""The chain: TLS, HTTP/2, HTTP/1, else opaque; as early as possible and never revoked."""

from __future__ import annotations

import pytest
from hello_bytes import hello_body, in_records, openssl_hello, sni
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.http2_preface import PREFACE
from edgemesh.wire.sniff import SNIFF_LIMIT, Sniffed, sniff

REQUEST = b"GET /hostname HTTP/1.1\r\nHost: Web.default:8080\r\nAccept: */*\r\n\r\n"
OPAQUE = Sniffed("opaque")


@pytest.mark.parametrize(
    ("prefix", "answer"),
    [
        (openssl_hello("web.default", ("h2",)), Sniffed("tls", "web.default", ("h2",))),
        (PREFACE, Sniffed("http2")),
        (REQUEST, Sniffed("http", "web.default")),
        (b"POST / HTTP/1.1\r\n", Sniffed("http")),
        (b"PRI * HTTP/1.1\r\n", Sniffed("http")),
        (b"\0", OPAQUE),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", OPAQUE),
        (b"\x16\x03\x01\x00\x05\x02", OPAQUE),
        (in_records(hello_body([sni((0, b"a"), (0, b"b"))])), OPAQUE),
        (b"A" * 1_000_000, OPAQUE),
    ],
    ids=[
        "TLS",
        "HTTP/2",
        "HTTP/1 with its Host",
        "HTTP/1 without one yet",
        "a method that starts like the preface",
        "zero",
        "SSH",
        "a handshake that is no ClientHello",
        "a ClientHello with two names",
        "a million-byte first line",
    ],
)
def test_the_first_bytes_tell_the_protocol(prefix: bytes, answer: Sniffed) -> None:
    assert sniff(prefix) == answer
    assert sniff(memoryview(prefix)) == answer
    assert sniff(prefix, complete=True) == answer


@pytest.mark.parametrize("prefix", [b"", b"G", b"GE", b"P", b"PRI * HTTP/2", b"\x16", b"\x16\x03"])
def test_what_may_become_anything_needs_more_and_is_opaque_when_there_is_none(
    prefix: bytes,
) -> None:
    assert sniff(prefix) is None
    assert sniff(prefix, complete=True) == OPAQUE


def test_half_a_client_hello_is_tls_without_a_name_once_no_more_comes() -> None:
    hello = openssl_hello("web.default")
    assert sniff(hello[:-1]) is None
    assert sniff(hello[:-1], complete=True) == Sniffed("tls")
    assert sniff(hello[:6], complete=True) == Sniffed("tls")
    assert sniff(hello[:5], complete=True) == OPAQUE


def test_a_client_hello_beyond_the_limit_is_tls_without_a_name() -> None:
    hello = in_records(hello_body([(21, bytes(SNIFF_LIMIT)), sni((0, b"web"))]), [SNIFF_LIMIT])
    assert sniff(hello[: SNIFF_LIMIT - 1]) is None
    assert sniff(hello[:SNIFF_LIMIT]) == Sniffed("tls")
    assert sniff(hello) == Sniffed("tls")


def test_a_full_limit_is_complete() -> None:
    assert sniff(b"GET /a", limit=7) is None
    assert sniff(b"GET /ab", limit=7) == OPAQUE
    assert sniff(b"GET /abc", limit=7) == OPAQUE


VALID = st.one_of(
    st.sampled_from([openssl_hello("web.default", ("h2",)), openssl_hello(), PREFACE, REQUEST]),
    st.lists(st.integers(1, 400), max_size=4).map(
        lambda cuts: in_records(openssl_hello("web.default")[9:], cuts)
    ),
    st.from_regex(rb"\A[A-Z]{1,9} /[a-z0-9]{0,9} HTTP/1\.[01]\r?\n(Host: [a-z]{1,9}\r?\n)?\Z"),
    st.binary(min_size=1),
)


@given(VALID, st.binary())
def test_an_answer_once_given_stays(start: bytes, rest: bytes) -> None:
    data = start + rest
    settled: Sniffed | None = None
    for size in range(len(data) + 1):
        answer = sniff(data[:size])
        if settled is None:
            settled = answer
            continue
        assert answer is not None
        assert answer.application_protocol == settled.application_protocol
        assert answer.alpn == settled.alpn
        # A Host may come after the first line; a name once told stays too.
        assert settled.server_name in ("", answer.server_name)
        settled = answer


@given(st.binary())
def test_any_bytes_have_an_answer_once_complete(data: bytes) -> None:
    assert sniff(data, complete=True) is not None


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_a_mutated_hello_is_tls_opaque_or_pending(position: int, mutation: bytes) -> None:
    hello = openssl_hello("web.default", ("h2",))
    answer = sniff(hello[:position] + mutation + hello[position + len(mutation) :])
    assert answer is None or answer.application_protocol in {"tls", "opaque"}
