"""HTTP/1 requests that must be refused, and how: data for unit tests and for real connections.

Sources: sections of RFC 9110 and RFC 9112; CVEs; and by name the techniques of published research
on request smuggling ("HTTP Desync Attacks", Kettle 2019; "HTTP Request Smuggling in 2020", Klein;
"T-Reqs", Jabiyev and others 2021; "Gudifu", 2024; "Funky chunks", Jeppe Weikop 2025).
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One message.

    Args:
        name: unique, for test ids.
        data: all that the peer sends.
        status: of the answer that a client gets; 502 for what an endpoint sends.
        reason: what the error says.
        source: why it is refused.
    """

    name: str
    data: bytes
    status: int
    reason: str
    source: str


HOST = b"Host: web.example"
# Enough fields, or bytes, to be over the limits of HttpSettings.
_MANY = [b"X-%d: 1" % number for number in range(100)]


def message(first: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """A message with these field lines."""
    return b"\r\n".join([first, *fields, b"", b""]) + body


def get(*fields: bytes) -> bytes:
    """A GET with a Host and these field lines."""
    return message(b"GET / HTTP/1.1", HOST, *fields)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """A POST with a Host, these field lines and this body."""
    return message(b"POST /orders HTTP/1.1", HOST, *fields, body=body)


def line(request_line: bytes) -> bytes:
    """A request with this first line and a Host."""
    return message(request_line, HOST)


_SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: web.example\r\n\r\n"
_EMPTY_CHUNKS = b"0\r\n\r\n"

FIRST_LINES = [
    Case("version-2.0", line(b"GET / HTTP/2.0"), 505, "version", "9110 2.5"),
    Case("version-3", line(b"GET / HTTP/3"), 505, "version", "9110 2.5"),
    Case("version-0.9", line(b"GET / HTTP/0.9"), 505, "version", "9110 2.5"),
    Case("version-1.2", line(b"GET / HTTP/1.2"), 505, "version", "9110 2.5: not ours to send on"),
    Case("version-1.10", line(b"GET / HTTP/1.10"), 505, "version", "9112 2.3: one digit"),
    Case("version-01.1", line(b"GET / HTTP/01.1"), 505, "version", "9112 2.3: one digit"),
    Case("version-lower-case", line(b"GET / http/1.1"), 505, "version", "9112 2.3: case matters"),
    Case("version-mixed-case", line(b"GET / Http/1.1"), 505, "version", "9112 2.3: case matters"),
    Case("no-version", b"GET /\r\n\r\n", 505, "no-version", "HTTP/0.9"),
    Case("no-version-with-fields", line(b"GET /"), 505, "no-version", "HTTP/0.9 with fields"),
    Case("no-target", line(b"GET HTTP/1.1"), 400, "request-target", "9112 3"),
    Case("no-method", line(b"/ HTTP/1.1"), 400, "method", "9112 3"),
    Case("method-only", line(b"GET"), 400, "request-line", "9112 3"),
    Case("other-protocol", line(b"GET / RTSP/1.0"), 400, "request-line", "9112 3"),
    Case("blank-behind-version", line(b"GET / HTTP/1.1 "), 400, "request-line", "9112 3: T-Reqs"),
    Case("tab-behind-version", line(b"GET / HTTP/1.1\t"), 400, "request-line", "9112 3: T-Reqs"),
    Case("text-behind-version", line(b"GET / HTTP/1.1 x"), 400, "request-line", "9112 3"),
    Case("blank-before-method", line(b" GET / HTTP/1.1"), 400, "method", "9112 2.2"),
    Case("two-blanks-before-target", line(b"GET  / HTTP/1.1"), 400, "space-in-target", "9112 3"),
    Case("two-blanks-behind-target", line(b"GET /  HTTP/1.1"), 400, "space-in-target", "9112 3"),
    Case("tab-for-blank", line(b"GET\t/\tHTTP/1.1"), 400, "method", "9112 3: only SP is sure"),
    Case("tab-before-version", line(b"GET /\tHTTP/1.1"), 400, "request-line", "9112 3"),
    Case("vertical-tab-for-blank", line(b"GET /\x0bHTTP/1.1"), 400, "request-line", "9112 3"),
    Case("form-feed-for-blank", line(b"GET\x0c/ HTTP/1.1"), 400, "method", "9112 3"),
    Case("method-no-token", line(b"GE(T / HTTP/1.1"), 400, "method", "9110 5.6.2"),
    Case("method-with-nul", line(b"GET\x00 / HTTP/1.1"), 400, "method", "T-Reqs"),
    Case("method-beyond-ascii", line(b"G\xc9T / HTTP/1.1"), 400, "method", "9110 5.6.2"),
    Case("method-with-colon", line(b"GET: / HTTP/1.1"), 400, "method", "9110 5.6.2"),
    Case("space-in-target", line(b"GET /a b HTTP/1.1"), 400, "space-in-target", "9112 3.2"),
    Case(
        "version-in-target",
        line(b"GET /a HTTP/1.1 HTTP/1.1"),
        400,
        "space-in-target",
        "9112 3.2: which one is the target?",
    ),
    Case("nul-in-target", line(b"GET /\x00 HTTP/1.1"), 400, "request-target", "9112 3.2"),
    Case("escape-in-target", line(b"GET /\x1b[m HTTP/1.1"), 400, "request-target", "9112 3.2"),
    Case("delete-in-target", line(b"GET /\x7f HTTP/1.1"), 400, "request-target", "9112 3.2"),
    Case("tab-in-target", line(b"GET /a\tb HTTP/1.1"), 400, "request-target", "9112 3.2"),
    Case("fragment-in-target", line(b"GET /a#b HTTP/1.1"), 400, "request-target", "CVE-2023-45539"),
    Case("fragment-in-query", line(b"GET /?a#b HTTP/1.1"), 400, "request-target", "CVE-2023-45539"),
    Case("relative-target", line(b"GET index.html HTTP/1.1"), 400, "request-target", "9112 3.2"),
    Case("query-as-target", line(b"GET ?a=b HTTP/1.1"), 400, "request-target", "9112 3.2.1"),
    Case("backslash-target", line(b"GET \\a HTTP/1.1"), 400, "request-target", "9112 3.2.1"),
    Case(
        "authority-as-target", line(b"GET web.example HTTP/1.1"), 400, "request-target", "9112 3.2"
    ),
    Case("asterisk-with-get", line(b"GET * HTTP/1.1"), 400, "request-target", "9112 3.2.4"),
    Case("asterisk-with-query", line(b"OPTIONS *?a HTTP/1.1"), 400, "request-target", "9112 3.2.4"),
    Case("two-asterisks", line(b"OPTIONS ** HTTP/1.1"), 400, "request-target", "9112 3.2.4"),
    Case(
        "absolute-form",
        line(b"GET http://web.example/ HTTP/1.1"),
        400,
        "absolute-form",
        "9112 3.2.2: it overrides Host, and we are no forward proxy",
    ),
    Case(
        "absolute-form-upper-case",
        line(b"GET HTTPS://other.example HTTP/1.1"),
        400,
        "absolute-form",
        "9112 3.2.2",
    ),
    Case(
        "absolute-file",
        line(b"GET file:///etc/passwd HTTP/1.1"),
        400,
        "absolute-form",
        "9112 3.2.2",
    ),
    Case(
        "host-and-port-as-target",
        line(b"GET web.example:80 HTTP/1.1"),
        400,
        "absolute-form",
        "9112 3.2",
    ),
    Case("connect", line(b"CONNECT web.example:443 HTTP/1.1"), 501, "connect", "9110 9.3.6"),
    Case("connect-to-path", line(b"CONNECT / HTTP/1.1"), 501, "connect", "9110 9.3.6"),
    Case("two-empty-lines", b"\r\n\r\n" + get(), 400, "method", "9112 2.2: one is ignored"),
    Case("bare-lf-before", b"\n" + get(), 400, "bare-lf", "9112 2.2"),
    Case(
        "bare-lf-behind-request-line",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        400,
        "bare-lf",
        "9112 2.2",
    ),
    Case(
        "bare-cr-behind-request-line",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        400,
        "bare-cr",
        "9112 2.2",
    ),
    Case(
        "two-cr-behind-request-line",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        400,
        "bare-cr",
        "9112 2.2",
    ),
    Case(
        "request-line-too-long",
        line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"),
        414,
        "first-line-too-long",
        "9112 3",
    ),
    Case("endless-request-line", b"GET /" + b"a" * 8200, 414, "first-line-too-long", "9112 3"),
    Case(
        "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "first-line", "a ClientHello"
    ),
    Case("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version", "9113 3.4"),
    Case("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", 400, "request-line", "no blank in it"),
]

FIELDS = [
    Case("bare-lf-behind-field", get(b"A: b\nC: d"), 400, "bare-lf", "9112 2.2"),
    Case("all-bare-lf", b"GET / HTTP/1.1\nHost: a\n\n", 400, "bare-lf", "9112 2.2"),
    Case("bare-lf-ends-head", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare-lf", "9112 2.2"),
    Case("lf-cr-ends-head", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", 400, "bare-lf", "9112 2.2"),
    Case(
        "bare-lf-hides-a-field",
        post(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 5", body=_EMPTY_CHUNKS),
        400,
        "bare-lf",
        "Klein 2020",
    ),
    Case("bare-cr-in-value", get(b"A: b\rC: d"), 400, "bare-cr", "9112 2.2"),
    Case("bare-cr-before-end", get(b"A: b\r"), 400, "bare-cr", "9112 2.2"),
    Case("bare-cr-in-name", get(b"A\rB: c"), 400, "bare-cr", "9112 2.2"),
    Case(
        "bare-cr-before-name", get(b"\rTransfer-Encoding: chunked"), 400, "bare-cr", "Kettle 2019"
    ),
    Case("nul-in-value", get(b"A: b\x00c"), 400, "control-character", "9110 5.5"),
    Case("nul-in-name", get(b"A\x00: b"), 400, "field-name", "9110 5.1"),
    Case("escape-in-value", get(b"A: \x1b[2J"), 400, "control-character", "9110 5.5"),
    Case("delete-in-value", get(b"A: b\x7f"), 400, "control-character", "9110 5.5"),
    Case("vertical-tab-in-value", get(b"A: \x0bb"), 400, "control-character", "9110 5.5"),
    Case("backspace-in-value", get(b"A: \x08b"), 400, "control-character", "9110 5.5"),
    Case("folded-by-blank", get(b"A: b", b" c"), 400, "obs-fold", "9112 5.2"),
    Case("folded-by-tab", get(b"A: b", b"\tc"), 400, "obs-fold", "9112 5.2"),
    Case(
        "first-field-folded",
        message(b"GET / HTTP/1.1", b" Host: a", HOST),
        400,
        "obs-fold",
        "9112 2.2",
    ),
    Case(
        "folded-coding",
        post(b"Transfer-Encoding:", b" chunked", body=_EMPTY_CHUNKS),
        400,
        "obs-fold",
        "Kettle 2019",
    ),
    Case("line-of-blanks", get(b"  "), 400, "obs-fold", "9112 5.2"),
    Case("space-before-colon", get(b"A : b"), 400, "space-before-colon", "9112 5.1"),
    Case("tab-before-colon", get(b"A\t: b"), 400, "space-before-colon", "9112 5.1"),
    Case(
        "space-before-colon-of-length",
        post(b"Content-Length : 5", body=b"12345"),
        400,
        "space-before-colon",
        "9112 5.1, CVE-2019-16869",
    ),
    Case(
        "space-before-colon-of-coding",
        post(b"Transfer-Encoding : chunked", body=_EMPTY_CHUNKS),
        400,
        "space-before-colon",
        "9112 5.1, CVE-2019-16869",
    ),
    Case("space-in-name", get(b"A B: c"), 400, "field-name", "9110 5.1"),
    Case("empty-name", get(b": b"), 400, "empty-field-name", "9110 5.1, CVE-2023-25725"),
    Case("no-colon", get(b"Host"), 400, "no-colon", "9112 5"),
    Case("name-no-token", get(b"A(B): c"), 400, "field-name", "9110 5.6.2"),
    Case("name-quoted", get(b'"A": b'), 400, "field-name", "9110 5.6.2"),
    Case("name-beyond-ascii", get(b"\xc3\x84: b"), 400, "field-name", "9110 5.1"),
    Case("name-with-vertical-tab", get(b"A\x0b: b"), 400, "field-name", "T-Reqs"),
    Case(
        "pseudo-header", get(b":path: /admin"), 400, "empty-field-name", "9113 8.3: not in HTTP/1"
    ),
    Case("too-many-fields", get(*_MANY), 431, "too-many-fields", "6585 5"),
    Case("head-too-long", get(b"A: " + b"b" * 61440), 431, "head-too-long", "6585 5"),
    Case("endless-head", get(b"A: " + b"b" * 61440)[:-4], 431, "head-too-long", "6585 5"),
]

HOSTS = [
    Case("no-host", message(b"GET / HTTP/1.1"), 400, "no-host", "9112 3.2"),
    Case("two-hosts", get(b"Host: other.example"), 400, "several-hosts", "9112 3.2"),
    Case("same-host-twice", get(HOST), 400, "several-hosts", "9112 3.2"),
    Case("second-host-empty", get(b"Host:"), 400, "several-hosts", "9112 3.2"),
]
HOSTS += [
    Case(f"host-{name}", message(b"GET / HTTP/1.1", b"Host: " + value), 400, "host", source)
    for name, value, source in [
        ("list", b"a.example,b.example", "9112 3.2"),
        ("with-blank", b"a.example b.example", "9112 3.2"),
        ("with-path", b"a.example/b", "9112 3.2"),
        ("with-user", b"b.example@a.example", "9110 4.2.4"),
        ("as-url", b"http://a.example", "9112 3.2"),
        ("with-port-name", b"a.example:http", "9110 7.2"),
        ("with-two-ports", b"a.example:80:81", "9110 7.2"),
        ("with-port-too-long", b"a.example:000080", "9110 7.2"),
        ("ipv6-bare", b"fd00::1", "3986 3.2.2"),
        ("ipv6-open", b"[fd00::1", "3986 3.2.2"),
        ("ipv6-with-text", b"[fd00::1]a", "3986 3.2.2"),
        ("beyond-ascii", b"\xc3\xa4.example", "3986 3.2.2"),
        ("percent", b"%61.example", "3986 3.2.2: read in two ways"),
        ("quote", b'"a.example"', "3986 3.2.2"),
        ("fragment", b"a.example#b", "3986 3.2.2"),
        ("backslash", b"a.example\\b", "3986 3.2.2"),
        ("too-long", b"a" * 256, "1035 2.3.4"),
    ]
]

REQUESTS = [*FIRST_LINES, *FIELDS, *HOSTS]
