"""What is read of a head, and which heads are remembered."""

from __future__ import annotations

import pytest

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.heads import Framing, MalformedHead, RequestHead, ResponseHead
from edgemesh.wire.http1.reader import HeadReader

SETTINGS = HttpSettings()


def request(*fields: str, first: str = "GET / HTTP/1.1", host: str = "Host: web") -> RequestHead:
    data = "\r\n".join([first, *([host] if host else []), *fields, "", ""])
    head = HeadReader(SETTINGS).read_request(data.encode("latin-1"))
    assert head is not None
    return head


def response(*fields: str, first: str = "HTTP/1.1 200 OK") -> ResponseHead:
    data = "\r\n".join([first, *fields, "", ""])
    head = HeadReader(SETTINGS).read_response(data.encode("latin-1"))
    assert head is not None
    return head


def test_a_target_is_divided_at_its_first_question_mark() -> None:
    head = request(first="GET /a/b?c=d?e HTTP/1.1")
    assert (head.target, head.path, head.query) == ("/a/b?c=d?e", "/a/b", "c=d?e")


def test_options_may_ask_about_the_server_as_a_whole() -> None:
    assert request(first="OPTIONS * HTTP/1.1").path == "*"


def test_bytes_beyond_ascii_in_a_target_are_kept() -> None:
    assert request(first="GET /caf\xc3\xa9 HTTP/1.1").path == "/caf\xc3\xa9"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("web", "web"),
        ("Web.Example:8080", "web.example"),
        ("web.example.", "web.example."),
        ("10.96.0.10:80", "10.96.0.10"),
        ("[FD00:96::A]:80", "fd00:96::a"),
        ("[::1]", "::1"),
        ("web:", "web"),
        ("", ""),
    ],
)
def test_the_host_is_told_in_lower_case_without_port_and_brackets(value: str, host: str) -> None:
    assert request(host=f"Host: {value}").host == host


def test_http_1_0_needs_no_host() -> None:
    assert request(first="GET / HTTP/1.0", host="").host == ""


def test_a_field_is_asked_for_by_its_name_in_lower_case() -> None:
    head = request("X-Version:  v2\t")
    assert head.value("x-version") == "v2"
    assert head.value("x-other") is None
    assert head.headers[-1] == ("x-version", "v2")
    assert response("Server: a").value("server") == "a"
    assert response().value("server") is None


def test_values_of_repeated_fields_are_joined_in_their_order() -> None:
    head = request("Via: a", "Cookie: b=c", "via: d", "cookie: e=f")
    assert (head.value("via"), head.value("cookie")) == ("a, d", "b=c; e=f")
    assert [name for name, _ in head.headers] == ["host", "via", "cookie", "via", "cookie"]


def test_a_value_may_be_latin_1_and_hold_tabs() -> None:
    assert request("A: caf\xe9\tb\xa0").value("a") == "caf\xe9\tb\xa0"


@pytest.mark.parametrize(
    ("fields", "framing", "length"),
    [
        ([], Framing.NONE, 0),
        (["Content-Length: 0"], Framing.NONE, 0),
        (["Content-Length: 17"], Framing.LENGTH, 17),
        (["Content-Length: 9223372036854775807"], Framing.LENGTH, 2**63 - 1),
        (["Transfer-Encoding: chunked"], Framing.CHUNKED, 0),
        (["Transfer-Encoding: Chunked"], Framing.CHUNKED, 0),
    ],
)
def test_a_request_tells_where_its_body_ends(
    fields: list[str], framing: Framing, length: int
) -> None:
    head = request(*fields, first="POST / HTTP/1.1")
    assert (head.framing, head.content_length) == (framing, length)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("Transfer-Encoding: Chunked", b"Transfer-Encoding: chunked"),
        ("transfer-encoding:\tchunked", b"transfer-encoding: chunked"),
        ("Transfer-Encoding: chunked ", b"Transfer-Encoding: chunked"),
        ("Content-Length: 007", b"Content-Length: 7"),
        ("Content-Length:  7", b"Content-Length: 7"),
        ("Content-Length: 00", b"Content-Length: 0"),
    ],
)
def test_what_frames_a_request_goes_on_in_the_only_spelling_that_all_servers_know(
    field: str, sent: bytes
) -> None:
    head = request("A: b", field, "C: d", first="POST / HTTP/1.1")
    assert not head.raw_is_forwardable
    assert head.forwarded == b"\r\n".join(
        [b"POST / HTTP/1.1", b"Host: web", b"A: b", sent, b"C: d", b"", b""]
    )


def test_a_blank_less_is_no_reason_to_write_a_head_anew() -> None:
    assert request("Content-Length:7", first="POST / HTTP/1.1").raw_is_forwardable


@pytest.mark.parametrize(
    ("first", "fields", "framing", "keep_alive"),
    [
        ("HTTP/1.1 200 OK", ["Content-Length: 5"], Framing.LENGTH, True),
        ("HTTP/1.1 200", ["Content-Length: 0"], Framing.NONE, True),
        ("HTTP/1.1 200 ", ["Transfer-Encoding: chunked"], Framing.CHUNKED, True),
        ("HTTP/1.1 200 OK", [], Framing.UNTIL_CLOSE, True),
        ("HTTP/1.0 200 OK", ["Content-Length: 5"], Framing.LENGTH, False),
        ("HTTP/1.1 304 Not Modified", ["Content-Length: 5"], Framing.NONE, True),
        ("HTTP/1.1 204 No Content", [], Framing.NONE, True),
        ("HTTP/1.1 204 No Content", ["Content-Length: 0"], Framing.NONE, True),
        ("HTTP/1.1 204 No Content", ["Content-Length: 5"], Framing.NONE, False),
        ("HTTP/1.1 204 No Content", ["Transfer-Encoding: chunked"], Framing.NONE, False),
        ("HTTP/1.1 103 Early Hints", ["Content-Length: 5"], Framing.NONE, False),
        ("HTTP/1.1 103 Early Hints", [], Framing.NONE, True),
        ("HTTP/1.1 101 Switching Protocols", [], Framing.TUNNEL, True),
    ],
)
def test_a_response_tells_where_its_body_ends_and_whether_another_may_follow(
    first: str, fields: list[str], framing: Framing, *, keep_alive: bool
) -> None:
    head = response(*fields, first=first)
    assert (head.framing_for("GET"), head.keep_alive) == (framing, keep_alive)


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: Chunked"])
@pytest.mark.parametrize("status", ["103 Early Hints", "204 No Content"])
def test_a_body_that_may_not_be_is_not_announced_to_the_client(status: str, field: str) -> None:
    head = response("A: b", field, first=f"HTTP/1.1 {status}")
    assert head.forwarded == f"HTTP/1.1 {status}\r\nA: b\r\n\r\n".encode()


def test_a_response_goes_on_in_the_spelling_that_all_clients_know() -> None:
    head = response("transfer-encoding:\tChunked")
    assert head.forwarded == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert response("Content-Length: 07", first="HTTP/1.1 304").forwarded.endswith(b": 7\r\n\r\n")


def test_an_answer_to_head_has_no_body_whatever_it_announces() -> None:
    assert response("Content-Length: 5").framing_for("HEAD") is Framing.NONE
    assert response("Transfer-Encoding: chunked").framing_for("HEAD") is Framing.NONE
    assert response(first="HTTP/1.1 101 x").framing_for("HEAD") is Framing.TUNNEL


@pytest.mark.parametrize(
    ("status", "interim"), [(100, True), (102, True), (103, True), (101, False), (200, False)]
)
def test_responses_of_1xx_are_interim_but_for_switching_protocols(
    status: int, *, interim: bool
) -> None:
    assert response(first=f"HTTP/1.1 {status} x").interim is interim


def test_a_reason_is_told_as_it_came() -> None:
    assert response(first="HTTP/1.1 200 caf\xe9 ").reason == "caf\xe9 "


def test_a_client_that_waits_for_100_is_known() -> None:
    assert request("Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert not request().expects_continue


def test_http_1_0_knows_no_expectation() -> None:
    assert not request("Expect: 100-continue", first="POST / HTTP/1.0").expects_continue


@pytest.mark.parametrize(
    ("method", "idempotent"), [("GET", True), ("PUT", True), ("POST", False), ("PURGE", False)]
)
def test_methods_that_may_be_repeated_are_known(method: str, *, idempotent: bool) -> None:
    assert request(first=f"{method} / HTTP/1.1").idempotent is idempotent


def test_one_empty_line_before_a_request_is_ignored() -> None:
    data = b"??\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest"
    head = HeadReader(SETTINGS).read_request(data, 2)
    assert head is not None
    assert head.raw == data[4:-4]
    assert head.size == len(data) - 6


def test_an_empty_line_and_the_beginning_of_another_is_refused() -> None:
    with pytest.raises(MalformedHead):
        HeadReader(SETTINGS).read_request(b"\r\n\r\n")


@pytest.mark.parametrize("data", [b"", b"\r", b"\r\n", b"\r\n\r", b"G", b"GET / HTTP/1.1\r\nA"])
def test_a_request_may_come_byte_by_byte(data: bytes) -> None:
    assert HeadReader(SETTINGS).read_request(data) is None


@pytest.mark.parametrize("data", [b"", b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA: b\r\n\r"])
def test_a_response_may_come_byte_by_byte(data: bytes) -> None:
    assert HeadReader(SETTINGS).read_response(data) is None


def test_limits_are_those_of_the_settings_to_the_byte() -> None:
    longest = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
    longest += b"b" * (SETTINGS.max_head_bytes - len(longest) - 4) + b"\r\n\r\n"
    assert HeadReader(SETTINGS).read_request(longest) is not None
    line = (
        b"GET /" + b"a" * (SETTINGS.max_request_line_bytes - 14) + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert HeadReader(SETTINGS).read_request(line) is not None
    assert HeadReader(SETTINGS).read_request(line[: line.index(b"\n")]) is None
    fields = [f"X-{number}: 1" for number in range(SETTINGS.max_fields - 1)]
    assert len(request(*fields).headers) == SETTINGS.max_fields


def get(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def status(number: int) -> bytes:
    return f"HTTP/1.1 {number} x\r\n\r\n".encode()


def test_the_same_bytes_are_the_same_head_wherever_they_come_from() -> None:
    reader = HeadReader(SETTINGS)
    first = reader.read_request(get("a"))
    assert reader.read_request(bytearray(b"body" + get("a") + get("b")), 4) is first
    assert reader.read_response(status(200)) is reader.read_response(status(200))


def test_no_more_heads_are_remembered_than_the_settings_say() -> None:
    reader = HeadReader(HttpSettings(head_cache_entries=8))
    heads = [reader.read_request(get(str(number))) for number in range(40)]
    again = [reader.read_request(get(str(number))) for number in range(40)]
    assert sum(old is new for old, new in zip(heads, again, strict=True)) <= 8
    assert reader.read_request(get("39")) is again[39]


def test_no_more_bytes_are_remembered_than_the_settings_say() -> None:
    reader = HeadReader(HttpSettings(head_cache_bytes=4 * len(get("1"))))
    first = reader.read_request(get("1"))
    assert reader.read_request(get("1")) is first
    for number in range(2, 7):
        reader.read_request(get(str(number)))
    assert reader.read_request(get("1")) is not first


def test_a_head_that_is_used_stays_while_others_are_forgotten() -> None:
    reader = HeadReader(HttpSettings(head_cache_entries=8))
    used, unused = reader.read_request(get("used")), reader.read_request(get("unused"))
    answer = reader.read_response(status(999))
    for number in range(40):
        reader.read_request(get(str(number)))
        reader.read_response(status(100 + number))
        assert reader.read_request(get("used")) is used
        assert reader.read_response(status(999)) is answer
    assert reader.read_request(get("unused")) is not unused


def test_long_heads_are_not_remembered() -> None:
    reader = HeadReader(SETTINGS)
    long = get("a" * SETTINGS.max_cached_head_bytes)
    assert reader.read_request(long) is not reader.read_request(long)
    huge = HeadReader(HttpSettings(head_cache_bytes=2 * len(get("")) - 2))
    assert huge.read_request(get("")) is not huge.read_request(get(""))


def test_many_field_names_are_no_burden() -> None:
    reader = HeadReader(HttpSettings(head_cache_entries=4))
    for number in range(20):
        data = f"GET / HTTP/1.1\r\nHost: a\r\nX-{number}: b\r\nX-{'y' * 70}: c\r\n\r\n"
        head = reader.read_request(data.encode())
        assert head is not None
        assert head.value(f"x-{number}") == "b"
