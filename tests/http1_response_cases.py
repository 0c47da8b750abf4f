"""HTTP/1 responses that an endpoint must not send; its client gets 502. See http1_cases."""

from __future__ import annotations

from http1_cases import Case, message

_EMPTY_CHUNKS = b"0\r\n\r\n"


def _response(*fields: bytes, body: bytes = b"") -> bytes:
    return message(b"HTTP/1.1 200 OK", *fields, body=body)


def _refused(name: str, data: bytes, reason: str, source: str) -> Case:
    return Case(name, data, 502, reason, source)


RESPONSES = [
    *(
        _refused(f"status-line-{name}", message(first, b"Content-Length: 0"), "status-line", source)
        for name, first, source in [
            ("of-http-2", b"HTTP/2 200 OK", "9112 2.3"),
            ("of-http-0.9", b"HTTP/0.9 200 OK", "9112 2.3"),
            ("of-http-1.2", b"HTTP/1.2 200 OK", "9112 2.3"),
            ("of-shoutcast", b"ICY 200 OK", "9112 4"),
            ("lower-case", b"http/1.1 200 OK", "9112 2.3"),
            ("without-status", b"HTTP/1.1 OK", "9112 4"),
            ("with-two-digits", b"HTTP/1.1 20 OK", "9112 4"),
            ("with-four-digits", b"HTTP/1.1 2000 OK", "9112 4"),
            ("with-status-zero", b"HTTP/1.1 000 OK", "9110 15"),
            ("with-status-below-100", b"HTTP/1.1 099 OK", "9110 15"),
            ("with-signed-status", b"HTTP/1.1 +20 OK", "9112 4"),
            ("with-two-blanks", b"HTTP/1.1  200 OK", "9112 4"),
            ("with-tab", b"HTTP/1.1\t200 OK", "9112 4"),
            ("with-blank-before", b" HTTP/1.1 200 OK", "9112 4"),
            ("with-text-behind-status", b"HTTP/1.1 200OK", "9112 4"),
            ("with-nul", b"HTTP/1.1 200 O\x00K", "9112 4"),
            ("with-escape", b"HTTP/1.1 200 \x1b[2J", "9112 4"),
            ("with-bare-cr", b"HTTP/1.1 200 OK\rA: b", "9112 2.2"),
            ("with-bare-lf", b"HTTP/1.1 200 OK\nA: b", "9112 2.2"),
        ]
    ),
    _refused("no-http", b"SSH-2.0-OpenSSH_9.2\r\n", "status-line", "9112 4"),
    _refused("no-http-without-line-end", b"220 mail.example ESMTP", "first-line", "9112 4"),
    _refused("tls-alert", b"\x15\x03\x01\x00\x02\x02\x46", "first-line", "TLS on a plain port"),
    _refused("no-head", b"<html></html>", "first-line", "HTTP/0.9"),
    _refused("empty-line-before", b"\r\n" + _response(), "status-line", "9112 2.2: requests only"),
    _refused(
        "length-and-coding",
        _response(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=_EMPTY_CHUNKS),
        "length-and-coding",
        "9112 6.1: response splitting",
    ),
    _refused(
        "lengths-differ",
        _response(b"Content-Length: 5", b"Content-Length: 6"),
        "content-length",
        "9112 6.3, rule 5",
    ),
    _refused(
        "lengths-equal",
        _response(b"Content-Length: 5", b"Content-Length: 5"),
        "content-length",
        "9112 6.3, rule 5",
    ),
    _refused("length-negative", _response(b"Content-Length: -1"), "content-length", "9110 8.6"),
    _refused("length-list", _response(b"Content-Length: 5, 5"), "content-length", "9110 8.6"),
    _refused("length-empty", _response(b"Content-Length:"), "content-length", "9110 8.6"),
    _refused(
        "length-overflow",
        _response(b"Content-Length: 99999999999999999999"),
        "content-length",
        "9110 8.6",
    ),
    _refused(
        "coding-identity", _response(b"Transfer-Encoding: identity"), "transfer-encoding", "9112 7"
    ),
    _refused(
        "coding-gzip", _response(b"Transfer-Encoding: gzip"), "transfer-encoding", "not asked for"
    ),
    _refused(
        "coding-gzip-then-chunked",
        _response(b"Transfer-Encoding: gzip, chunked"),
        "transfer-coding",
        "not asked for by TE",
    ),
    _refused(
        "coding-twice",
        _response(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        "transfer-encoding",
        "9112 6.1",
    ),
    _refused(
        "coding-in-http-1.0",
        message(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked", body=_EMPTY_CHUNKS),
        "coding-in-http-1.0",
        "9112 6.1",
    ),
    _refused(
        "coding-in-interim",
        message(b"HTTP/1.1 103 Early Hints", b"Transfer-Encoding: x"),
        "transfer-encoding",
        "9112 6.1",
    ),
    _refused("bare-lf", _response(b"A: b\nC: d"), "bare-lf", "9112 2.2"),
    _refused("all-bare-lf", b"HTTP/1.1 200 OK\nA: b\n\n", "bare-lf", "9112 2.2"),
    _refused("bare-cr", _response(b"A: b\rC: d"), "bare-cr", "9112 2.2"),
    _refused("nul", _response(b"A: \x00"), "control-character", "9110 5.5"),
    _refused("folded", _response(b"A: b", b" c"), "obs-fold", "9112 5.2"),
    _refused("space-before-colon", _response(b"A : b"), "space-before-colon", "9112 5.1"),
    _refused("no-colon", _response(b"A"), "no-colon", "9112 5"),
    _refused("empty-name", _response(b": b"), "empty-field-name", "9110 5.1"),
    _refused(
        "underscore", _response(b"Content_Length: 5"), "underscore-in-name", "read in two ways"
    ),
    _refused(
        "connection-names-length",
        _response(b"Connection: content-length", b"Content-Length: 5"),
        "connection-option",
        "9110 7.6.1",
    ),
    _refused(
        "too-many-fields",
        _response(*(b"X-%d: 1" % number for number in range(101))),
        "too-many-fields",
        "a limit of ours",
    ),
    _refused("head-too-long", _response(b"A: " + b"b" * 61440), "head-too-long", "a limit of ours"),
    _refused(
        "endless-head", _response(b"A: " + b"b" * 61440)[:-4], "head-too-long", "a limit of ours"
    ),
    _refused(
        "endless-line", b"HTTP/1.1 200 " + b"a" * 8192, "first-line-too-long", "a limit of ours"
    ),
]
