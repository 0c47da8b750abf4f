"""An HTTP/1 request line is told by its grammar, as early as its bytes allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.http1_head import (
    FIRST_LINE_LIMIT,
    METHOD_LIMIT,
    read_host,
    recognise_request_line,
)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT web:443 HTTP/1.1\r\n",
        b"GET http://web/a?b=c HTTP/1.1\r\n",
        b"VERSION-CONTROL /\xc3\xa9 HTTP/1.1\r\n",
        b"M" * METHOD_LIMIT + b" / HTTP/1.1\r\n",
    ],
)
def test_a_request_line_is_pending_up_to_its_last_byte(line: bytes) -> None:
    assert recognise_request_line(line)
    for size in range(1, len(line)):
        assert recognise_request_line(line[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b" ",
        b"\r",
        b"GE\0",
        b"GET  ",
        b"GET \r",
        b"GET /\x7f",
        b"GET / S",
        b"GET / HTTP/2",
        b"GET / HTTP/1.x",
        b"GET / HTTP/1.11",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\r\r",
        b"SSH-2.0-OpenSSH_9.2\r",
        b"HELO example.org\r",
        b"M" * (METHOD_LIMIT + 1),
    ],
)
def test_the_first_byte_that_fits_no_request_line_settles_it(data: bytes) -> None:
    assert recognise_request_line(data) is False
    if len(data) > 1:
        assert recognise_request_line(data[:-1]) is None


def test_a_line_of_just_the_limit_is_a_request() -> None:
    line = b"GET /" + b"a" * (FIRST_LINE_LIMIT - len(b"GET / HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"
    assert recognise_request_line(line)
    assert recognise_request_line(line.replace(b"/a", b"/aa")) is False


def test_a_line_beyond_the_limit_is_none_before_it_ends() -> None:
    line = b"GET /" + b"a" * FIRST_LINE_LIMIT
    assert recognise_request_line(line[: FIRST_LINE_LIMIT - 1]) is None
    assert recognise_request_line(line[:FIRST_LINE_LIMIT]) is False


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b" web.default", "web.default"),
        (b"WEB.Default:8080", "web.default"),
        (b"\t 10.0.0.1:80 \t", "10.0.0.1"),
        (b" [FD00::1]:80", "fd00::1"),
        (b" [fd00::1]", "fd00::1"),
        (b" web:", "web"),
        (b"", ""),
        (b" web default", ""),
        (b" web/path", ""),
        (b" w\xc3\xa9b", ""),
        (b" web:http", ""),
        (b" " + b"a" * 256, ""),
    ],
)
def test_the_host_is_the_name_or_address_without_its_port(value: bytes, host: str) -> None:
    for ending in (b"\r\n", b"\n"):
        head = b"GET / HTTP/1.1" + ending + b"Accept: */*" + ending + b"hOsT:" + value + ending
        assert read_host(head + ending) == host


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: web",
        b"GET / HTTP/1.1\r\nHost: web\r",
        b"GET / HTTP/1.1\r\n\r\nHost: web\r\n",
        b"GET / HTTP/1.1\n\nHost: web\n",
        b"GET / HTTP/1.1\r\nX-Host: web\r\n\r\n",
    ],
    ids=["none yet", "half a line", "half a line end", "in the body", "after LF LF", "another"],
)
def test_a_host_that_has_not_come_is_none(head: bytes) -> None:
    assert read_host(head) == ""


def test_the_first_of_two_hosts_is_reported_even_when_it_is_none() -> None:
    assert read_host(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == "a"
    assert read_host(b"GET / HTTP/1.1\r\nHost: ?\r\nHost: b\r\n\r\n") == ""


@given(st.binary())
def test_any_head_has_a_host_or_none(data: bytes) -> None:
    host = read_host(b"GET / HTTP/1.1\r\nHost:" + data)
    assert host == host.lower()
    assert not set(host) & set(" \r\n/?#@\"'")
