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


def refused(status: int, reason: str, *messages: tuple[str, bytes, str]) -> list[Case]:
    """Cases of one answer and reason: the name of each, what is sent, and the source."""
    return [Case(name, data, status, reason, source) for name, data, source in messages]


_EMPTY_CHUNKS = b"0\r\n\r\n"

FIRST_LINES = [
    *refused(
        505,
        "version",
        ("version-2.0", line(b"GET / HTTP/2.0"), "9110 2.5"),
        ("version-3", line(b"GET / HTTP/3"), "9110 2.5"),
        ("version-0.9", line(b"GET / HTTP/0.9"), "9110 2.5"),
        ("version-1.2", line(b"GET / HTTP/1.2"), "9110 2.5: not ours to send on"),
        ("version-1.10", line(b"GET / HTTP/1.10"), "9112 2.3: one digit"),
        ("version-01.1", line(b"GET / HTTP/01.1"), "9112 2.3: one digit"),
        ("version-lower-case", line(b"GET / http/1.1"), "9112 2.3: case matters"),
        ("version-mixed-case", line(b"GET / Http/1.1"), "9112 2.3: case matters"),
        ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "9113 3.4"),
    ),
    *refused(
        505,
        "no-version",
        ("no-version", b"GET /\r\n\r\n", "HTTP/0.9"),
        ("no-version-with-fields", line(b"GET /"), "HTTP/0.9 with fields"),
    ),
    *refused(
        400,
        "request-target",
        ("no-target", line(b"GET HTTP/1.1"), "9112 3"),
        ("nul-in-target", line(b"GET /\x00 HTTP/1.1"), "9112 3.2"),
        ("escape-in-target", line(b"GET /\x1b[m HTTP/1.1"), "9112 3.2"),
        ("delete-in-target", line(b"GET /\x7f HTTP/1.1"), "9112 3.2"),
        ("tab-in-target", line(b"GET /a\tb HTTP/1.1"), "9112 3.2"),
        ("fragment-in-target", line(b"GET /a#b HTTP/1.1"), "CVE-2023-45539"),
        ("fragment-in-query", line(b"GET /?a#b HTTP/1.1"), "CVE-2023-45539"),
        ("relative-target", line(b"GET index.html HTTP/1.1"), "9112 3.2"),
        ("query-as-target", line(b"GET ?a=b HTTP/1.1"), "9112 3.2.1"),
        ("backslash-target", line(b"GET \\a HTTP/1.1"), "9112 3.2.1"),
        ("authority-as-target", line(b"GET web.example HTTP/1.1"), "9112 3.2"),
        ("asterisk-with-get", line(b"GET * HTTP/1.1"), "9112 3.2.4"),
        ("asterisk-with-query", line(b"OPTIONS *?a HTTP/1.1"), "9112 3.2.4"),
        ("two-asterisks", line(b"OPTIONS ** HTTP/1.1"), "9112 3.2.4"),
    ),
    *refused(
        400,
        "method",
        ("no-method", line(b"/ HTTP/1.1"), "9112 3"),
        ("blank-before-method", line(b" GET / HTTP/1.1"), "9112 2.2"),
        ("tab-for-blank", line(b"GET\t/\tHTTP/1.1"), "9112 3: only SP is sure"),
        ("form-feed-for-blank", line(b"GET\x0c/ HTTP/1.1"), "9112 3"),
        ("method-no-token", line(b"GE(T / HTTP/1.1"), "9110 5.6.2"),
        ("method-with-nul", line(b"GET\x00 / HTTP/1.1"), "T-Reqs"),
        ("method-beyond-ascii", line(b"G\xc9T / HTTP/1.1"), "9110 5.6.2"),
        ("method-with-colon", line(b"GET: / HTTP/1.1"), "9110 5.6.2"),
        ("two-empty-lines", b"\r\n\r\n" + get(), "9112 2.2: one is ignored"),
    ),
    *refused(
        400,
        "request-line",
        ("method-only", line(b"GET"), "9112 3"),
        ("other-protocol", line(b"GET / RTSP/1.0"), "9112 3"),
        ("blank-behind-version", line(b"GET / HTTP/1.1 "), "9112 3: T-Reqs"),
        ("tab-behind-version", line(b"GET / HTTP/1.1\t"), "9112 3: T-Reqs"),
        ("text-behind-version", line(b"GET / HTTP/1.1 x"), "9112 3"),
        ("tab-before-version", line(b"GET /\tHTTP/1.1"), "9112 3"),
        ("vertical-tab-for-blank", line(b"GET /\x0bHTTP/1.1"), "9112 3"),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", "no blank in it"),
    ),
    *refused(
        400,
        "space-in-target",
        ("two-blanks-before-target", line(b"GET  / HTTP/1.1"), "9112 3"),
        ("two-blanks-behind-target", line(b"GET /  HTTP/1.1"), "9112 3"),
        ("space-in-target", line(b"GET /a b HTTP/1.1"), "9112 3.2"),
        (
            "version-in-target",
            line(b"GET /a HTTP/1.1 HTTP/1.1"),
            "9112 3.2: which one is the target?",
        ),
    ),
    *refused(
        400,
        "absolute-form",
        (
            "absolute-form",
            line(b"GET http://web.example/ HTTP/1.1"),
            "9112 3.2.2: it overrides Host, and we are no forward proxy",
        ),
        ("absolute-form-upper-case", line(b"GET HTTPS://other.example HTTP/1.1"), "9112 3.2.2"),
        ("absolute-file", line(b"GET file:///etc/passwd HTTP/1.1"), "9112 3.2.2"),
        ("host-and-port-as-target", line(b"GET web.example:80 HTTP/1.1"), "9112 3.2"),
    ),
    *refused(
        501,
        "connect",
        ("connect", line(b"CONNECT web.example:443 HTTP/1.1"), "9110 9.3.6"),
        ("connect-to-path", line(b"CONNECT / HTTP/1.1"), "9110 9.3.6"),
    ),
    *refused(
        400,
        "bare-lf",
        ("bare-lf-before", b"\n" + get(), "9112 2.2"),
        ("bare-lf-behind-request-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "9112 2.2"),
    ),
    *refused(
        400,
        "bare-cr",
        ("bare-cr-behind-request-line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", "9112 2.2"),
        ("two-cr-behind-request-line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "9112 2.2"),
    ),
    *refused(
        414,
        "first-line-too-long",
        ("request-line-too-long", line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), "9112 3"),
        ("endless-request-line", b"GET /" + b"a" * 8200, "9112 3"),
    ),
    *refused(
        400,
        "first-line",
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a ClientHello"),
    ),
]

FIELDS = [
    *refused(
        400,
        "bare-lf",
        ("bare-lf-behind-field", get(b"A: b\nC: d"), "9112 2.2"),
        ("all-bare-lf", b"GET / HTTP/1.1\nHost: a\n\n", "9112 2.2"),
        ("bare-lf-ends-head", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "9112 2.2"),
        ("lf-cr-ends-head", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", "9112 2.2"),
        (
            "bare-lf-hides-a-field",
            post(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 5", body=_EMPTY_CHUNKS),
            "Klein 2020",
        ),
    ),
    *refused(
        400,
        "bare-cr",
        ("bare-cr-in-value", get(b"A: b\rC: d"), "9112 2.2"),
        ("bare-cr-before-end", get(b"A: b\r"), "9112 2.2"),
        ("bare-cr-in-name", get(b"A\rB: c"), "9112 2.2"),
        ("bare-cr-before-name", get(b"\rTransfer-Encoding: chunked"), "Kettle 2019"),
    ),
    *refused(
        400,
        "control-character",
        ("nul-in-value", get(b"A: b\x00c"), "9110 5.5"),
        ("escape-in-value", get(b"A: \x1b[2J"), "9110 5.5"),
        ("delete-in-value", get(b"A: b\x7f"), "9110 5.5"),
        ("vertical-tab-in-value", get(b"A: \x0bb"), "9110 5.5"),
        ("backspace-in-value", get(b"A: \x08b"), "9110 5.5"),
    ),
    *refused(
        400,
        "field-name",
        ("nul-in-name", get(b"A\x00: b"), "9110 5.1"),
        ("space-in-name", get(b"A B: c"), "9110 5.1"),
        ("name-no-token", get(b"A(B): c"), "9110 5.6.2"),
        ("name-quoted", get(b'"A": b'), "9110 5.6.2"),
        ("name-beyond-ascii", get(b"\xc3\x84: b"), "9110 5.1"),
        ("name-with-vertical-tab", get(b"A\x0b: b"), "T-Reqs"),
    ),
    *refused(
        400,
        "obs-fold",
        ("folded-by-blank", get(b"A: b", b" c"), "9112 5.2"),
        ("folded-by-tab", get(b"A: b", b"\tc"), "9112 5.2"),
        ("first-field-folded", message(b"GET / HTTP/1.1", b" Host: a", HOST), "9112 2.2"),
        (
            "folded-coding",
            post(b"Transfer-Encoding:", b" chunked", body=_EMPTY_CHUNKS),
            "Kettle 2019",
        ),
        ("line-of-blanks", get(b"  "), "9112 5.2"),
    ),
    *refused(
        400,
        "space-before-colon",
        ("space-before-colon", get(b"A : b"), "9112 5.1"),
        ("tab-before-colon", get(b"A\t: b"), "9112 5.1"),
        (
            "space-before-colon-of-length",
            post(b"Content-Length : 5", body=b"12345"),
            "9112 5.1, CVE-2019-16869",
        ),
        (
            "space-before-colon-of-coding",
            post(b"Transfer-Encoding : chunked", body=_EMPTY_CHUNKS),
            "9112 5.1, CVE-2019-16869",
        ),
    ),
    *refused(
        400,
        "empty-field-name",
        ("empty-name", get(b": b"), "9110 5.1, CVE-2023-25725"),
        ("pseudo-header", get(b":path: /admin"), "9113 8.3: not in HTTP/1"),
    ),
    *refused(
        400,
        "no-colon",
        ("no-colon", get(b"Host"), "9112 5"),
    ),
    *refused(
        431,
        "too-many-fields",
        ("too-many-fields", get(*_MANY), "6585 5"),
    ),
    *refused(
        431,
        "head-too-long",
        ("head-too-long", get(b"A: " + b"b" * 61440), "6585 5"),
        ("endless-head", get(b"A: " + b"b" * 61440)[:-4], "6585 5"),
    ),
]

HOSTS = [
    *refused(
        400,
        "no-host",
        ("no-host", message(b"GET / HTTP/1.1"), "9112 3.2"),
    ),
    *refused(
        400,
        "several-hosts",
        ("two-hosts", get(b"Host: other.example"), "9112 3.2"),
        ("same-host-twice", get(HOST), "9112 3.2"),
        ("second-host-empty", get(b"Host:"), "9112 3.2"),
    ),
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
