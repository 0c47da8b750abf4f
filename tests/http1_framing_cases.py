"""HTTP/1 messages whose end cannot be told for sure, and how they are refused; see http1_cases."""

from __future__ import annotations

from typing import NamedTuple

from http1_cases import HOST, Case, get, message, post

_EMPTY_CHUNKS = b"0\r\n\r\n"
_SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: web.example\r\n\r\n"


def _length(name: str, value: bytes, source: str = "9110 8.6") -> Case:
    data = post(b"Content-Length: " + value, body=b"12345")
    return Case(f"length-{name}", data, 400, "content-length", source)


LENGTHS = [
    _length("negative", b"-1"),
    _length("signed", b"+5"),
    _length("fraction", b"5.0"),
    _length("hexadecimal", b"0x5"),
    _length("empty", b""),
    _length("blank-inside", b"5 5"),
    _length("list", b"5, 5", "9110 8.6: not even of equal ones"),
    _length("list-of-different", b"5, 6", "9112 6.3, rule 5"),
    _length("list-with-empty-end", b"5,"),
    _length("quoted", b'"5"'),
    _length("with-text", b"5a"),
    _length("with-semicolon", b"5;a=b"),
    _length("underscore", b"1_0", "Python's int() reads 10"),
    _length("superscript", b"\xb2", "str.isdigit() is true in Latin-1"),
    _length("overflow-of-signed-64-bits", b"9223372036854775808", "9110 8.6: overflow"),
    _length("overflow-of-64-bits", b"18446744073709551621", "reads 5 after an overflow"),
    _length("of-many-digits", b"0" * 19 + b"5", "beyond every integer's digits"),
    Case(
        "lengths-differ",
        post(b"Content-Length: 5", b"Content-Length: 6", body=b"123456"),
        400,
        "content-length",
        "9112 6.3, rule 5",
    ),
    Case(
        "lengths-equal",
        post(b"Content-Length: 5", b"content-length: 5", body=b"12345"),
        400,
        "content-length",
        "9110 8.6 lets a recipient refuse",
    ),
    Case(
        "length-with-underscore",
        post(b"Content_Length: 5", body=b"12345"),
        400,
        "underscore-in-name",
        "CGI reads it as Content-Length",
    ),
    Case(
        "length-with-vertical-tab",
        post(b"Content-Length: \x0b5", body=b"12345"),
        400,
        "control-character",
        "T-Reqs: some skip it as a blank",
    ),
    Case(
        "length-beyond-latin-blank",
        post(b"Content-Length: \xa05", body=b"12345"),
        400,
        "content-length",
        "str.strip() takes it for a blank",
    ),
    Case(
        "length-in-http-1.0-twice",
        message(b"POST / HTTP/1.0", b"Content-Length: 5", b"Content-Length: 0", body=b"12345"),
        400,
        "content-length",
        "9112 6.3, rule 5",
    ),
]


def _coding(name: str, value: bytes, status: int, source: str) -> Case:
    data = post(b"Transfer-Encoding: " + value, body=_EMPTY_CHUNKS)
    reason = "transfer-encoding" if status == 400 else "transfer-coding"
    return Case(f"coding-{name}", data, status, reason, source)


CODINGS = [
    Case(
        "length-and-coding",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=_EMPTY_CHUNKS + _SMUGGLED),
        400,
        "length-and-coding",
        "9112 6.1, CL.TE of Kettle 2019",
    ),
    Case(
        "coding-and-length",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=_EMPTY_CHUNKS),
        400,
        "length-and-coding",
        "9112 6.1, TE.CL of Kettle 2019",
    ),
    Case(
        "unknown-coding-and-length",
        post(b"Transfer-Encoding: x", b"Content-Length: 5", body=b"12345"),
        400,
        "length-and-coding",
        "9112 6.1",
    ),
    Case(
        "coding-in-http-1.0",
        message(b"POST / HTTP/1.0", HOST, b"Transfer-Encoding: chunked", body=_EMPTY_CHUNKS),
        400,
        "coding-in-http-1.0",
        "9112 6.1",
    ),
    _coding("identity", b"identity", 400, "9112 7: obsolete since 2014"),
    _coding("empty", b"", 400, "9112 6.1"),
    _coding("xchunked", b"xchunked", 400, "Kettle 2019"),
    _coding("chunkedx", b"chunkedx", 400, "Kettle 2019"),
    _coding("chunked-twice", b"chunked, chunked", 400, "9112 6.1"),
    _coding("chunked-not-last", b"chunked, gzip", 400, "9112 6.3, rule 4"),
    _coding("chunked-then-identity", b"chunked, identity", 400, "Kettle 2019"),
    _coding("chunked-with-parameter", b"chunked;a=b", 400, "9112 7.1"),
    _coding("chunked-quoted", b'"chunked"', 400, "Kettle 2019"),
    _coding("chunked-behind-comma", b",chunked", 400, "Kettle 2019"),
    _coding("chunked-before-comma", b"chunked,", 400, "Kettle 2019"),
    _coding("chunked-behind-latin-blank", b"\xa0chunked", 400, "str.strip() takes it for a blank"),
    _coding("gzip-only", b"gzip", 400, "9112 6.3, rule 4"),
    _coding("gzip-then-chunked", b"gzip, chunked", 501, "9112 6.1: unknown here"),
    _coding("identity-then-chunked", b"identity, chunked", 501, "9112 6.1: unknown here"),
    Case(
        "coding-twice",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=_EMPTY_CHUNKS),
        400,
        "transfer-encoding",
        "9112 6.1",
    ),
    Case(
        "second-coding-differs",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=_EMPTY_CHUNKS),
        400,
        "transfer-encoding",
        "TE.TE of Kettle 2019",
    ),
    Case(
        "coding-with-underscore",
        post(b"Transfer_Encoding: chunked", body=_EMPTY_CHUNKS),
        400,
        "underscore-in-name",
        "CGI reads it as Transfer-Encoding",
    ),
    Case(
        "coding-with-vertical-tab",
        post(b"Transfer-Encoding: \x0bchunked", body=_EMPTY_CHUNKS),
        400,
        "control-character",
        "Kettle 2019",
    ),
    Case(
        "coding-with-form-feed-behind",
        post(b"Transfer-Encoding: chunked\x0c", body=_EMPTY_CHUNKS),
        400,
        "control-character",
        "Kettle 2019",
    ),
    Case(
        "coding-with-nul",
        post(b"Transfer-Encoding: chunked\x00", body=_EMPTY_CHUNKS),
        400,
        "control-character",
        "T-Reqs",
    ),
]

HOPS = [
    Case(
        f"connection-names-{name}",
        get(b"Connection: close, " + name.encode()),
        400,
        "connection-option",
        "9110 7.6.1; abusing hop-by-hop headers, Nathan Davison 2019",
    )
    for name in ("Content-Length", "transfer-encoding", "Host")
]
HOPS += [
    Case(
        "connection-option-no-token",
        get(b"Connection: clo(se"),
        400,
        "connection-option",
        "9110 7.6.1",
    ),
    Case(
        "connection-option-with-blank",
        get(b"Connection: keep alive"),
        400,
        "connection-option",
        "9110 7.6.1",
    ),
    Case("expects-other", post(b"Expect: 200-ok"), 417, "expectation", "9110 10.1.1"),
    Case(
        "expects-twice",
        post(b"Expect: 100-continue", b"Expect: x"),
        417,
        "expectation",
        "9110 10.1.1; Expect desync, 2025",
    ),
    Case("expects-nothing", post(b"Expect:"), 417, "expectation", "9110 10.1.1"),
]

REQUESTS = [*LENGTHS, *CODINGS, *HOPS]


class Body(NamedTuple):
    """A chunked body that is refused; arguments as in Case."""

    name: str
    data: bytes
    reason: str
    source: str


BODIES = [
    Body("no-size", b"\r\n", "chunk-line", "9112 7.1"),
    Body("size-not-hexadecimal", b"g\r\n", "chunk-line", "9112 7.1"),
    Body("size-negative", b"-1\r\n", "chunk-line", "9112 7.1"),
    Body("size-signed", b"+1\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("size-with-prefix", b"0x1\r\na\r\n0\r\n\r\n", "chunk-line", "T-Reqs"),
    Body("size-with-underscore", b"1_0\r\n", "chunk-line", "Python's int() reads 16"),
    Body("blank-before-size", b" 1\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("blank-behind-size", b"1 \r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("tab-behind-size", b"1\t\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("vertical-tab-behind-size", b"1\x0b\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("nul-behind-size", b"1\x00\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("size-of-17-digits", b"00000000000000001\r\na\r\n", "chunk-line", "9112 7.1: overflow"),
    Body("size-beyond-63-bits", b"8000000000000000\r\n", "chunk-size", "9112 7.1: overflow"),
    Body("size-of-64-bits", b"ffffffffffffffff\r\n", "chunk-size", "9112 7.1: overflow"),
    Body("bare-lf-behind-size", b"1\na\r\n0\r\n\r\n", "chunk-line", "9112 2.2: TERM.EXT, Weikop"),
    Body("bare-cr-behind-size", b"1\ra\r\n0\r\n\r\n", "chunk-line", "9112 2.2"),
    Body("two-cr-behind-size", b"1\r\r\na\r\n0\r\n\r\n", "chunk-line", "9112 2.2"),
    Body("data-too-long", b"1\r\nab\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("data-too-short", b"3\r\nab\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("nothing-behind-data", b"1\r\na0\r\n\r\n", "chunk-line", "EXT.TERM, Weikop 2025"),
    Body("bare-lf-behind-data", b"1\r\na\n0\r\n\r\n", "chunk-line", "9112 7.1, CVE-2025-22871"),
    Body("bare-cr-behind-data", b"1\r\na\r0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("two-crlf-behind-data", b"1\r\na\r\n\r\n0\r\n\r\n", "chunk-line", "9112 7.1"),
    Body("bare-lf-in-extension", b"1;a\nb\r\na\r\n0\r\n\r\n", "chunk-line", "Funky chunks, 2025"),
    Body("bare-cr-in-extension", b"1;a\rb\r\na\r\n0\r\n\r\n", "chunk-line", "Funky chunks, 2025"),
    Body("nul-in-extension", b"1;a=\x00\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("extension-without-name", b"1;\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("extension-without-value", b"1;a=\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("extension-with-blank", b"1;a b\r\na\r\n0\r\n\r\n", "chunk-line", "9112 7.1.1"),
    Body("extension-open-quote", b'1;a="b\r\na\r\n0\r\n\r\n', "chunk-line", "9112 7.1.1"),
    Body(
        "extension-quoting-crlf",
        b'1;a="\r\nb"\r\na\r\n0\r\n\r\n',
        "chunk-line",
        "9112 7.1.1: CRLF ends a line, quoted or not",
    ),
    Body(
        "extension-too-long", b"1;" + b"a" * 4096 + b"\r\n", "chunk-line-too-long", "CVE-2023-39326"
    ),
    Body("endless-extension", b"1;" + b"a" * 4096, "chunk-line-too-long", "CVE-2023-39326"),
    Body(
        "extensions-on-every-chunk",
        (b"1;" + b"a" * 400 + b"\r\nb\r\n") * 50,
        "chunk-overhead",
        "CVE-2023-39326",
    ),
    Body("trailer-length", b"0\r\nContent-Length: 5\r\n\r\n", "forbidden-trailer", "9110 6.5.1"),
    Body(
        "trailer-coding",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "forbidden-trailer",
        "9110 6.5.1",
    ),
    Body("trailer-host", b"0\r\nHost: other\r\n\r\n", "forbidden-trailer", "9110 6.5.1"),
    Body("trailer-cookie", b"0\r\nSet-Cookie: a=b\r\n\r\n", "forbidden-trailer", "9110 6.5.1"),
    Body(
        "trailer-authorization", b"0\r\nAuthorization: x\r\n\r\n", "forbidden-trailer", "9110 6.5.1"
    ),
    Body("trailer-underscore", b"0\r\nContent_Length: 5\r\n\r\n", "underscore-in-name", "CGI"),
    Body("trailer-folded", b"0\r\nA: b\r\n c\r\n\r\n", "obs-fold", "9112 5.2"),
    Body("trailer-space-before-colon", b"0\r\nA : b\r\n\r\n", "space-before-colon", "9112 5.1"),
    Body("trailer-bare-lf", b"0\r\nA: b\n\r\n", "bare-lf", "9112 2.2"),
    Body("trailers-ended-by-bare-lf", b"0\r\nA: b\r\n\n", "bare-lf", "9112 2.2"),
    Body("last-chunk-ended-by-bare-lf", b"0\r\n\n", "bare-lf", "9112 7.1"),
    Body("trailer-bare-cr", b"0\r\nA: b\rc\r\n\r\n", "bare-cr", "9112 2.2"),
    Body("trailer-nul", b"0\r\nA: \x00\r\n\r\n", "control-character", "9110 5.5"),
    Body(
        "trailer-is-a-request",
        b"0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
        "no-colon",
        "TE.0 and 0.CL, Kettle 2025",
    ),
    Body("too-many-trailers", b"0\r\n" + b"A: b\r\n" * 101, "too-many-trailers", "6585 5"),
    Body("trailers-too-long", b"0\r\n" + b"A: " + b"b" * 61440, "trailers-too-long", "6585 5"),
]
