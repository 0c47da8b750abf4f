"""Valid messages are read as they were meant, and as others read them, however they are cut.

h11 and llhttp (through httptools) are the other opinions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import h11
import httptools
from http1_strategies import (
    Message,
    Request,
    Response,
    chunked,
    contents,
    exchanges,
    pieces,
    requests,
    responses,
)
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import Framing, MalformedHead, ResponseHead
from edgemesh.wire.http1.reader import HeadReader
from edgemesh.wire.http1.rebuild import rebuild_request, rebuild_response

SETTINGS = HttpSettings()
Read = tuple[Any, bytearray]


def read_stream(
    parts: Iterable[bytes],
    read_head: Callable[[bytearray], Any],
    framing_of: Callable[[Any], Framing],
) -> list[Read]:
    """Heads and bodies of what comes in parts, until it ends."""
    messages: list[Read] = []
    buffer = bytearray()
    body: _Body | None = None
    for part in parts:
        buffer += part
        while buffer:
            if body is None:
                head = read_head(buffer)
                if head is None:
                    break
                del buffer[: head.size]
                body = _Body(framing_of(head), head.content_length)
                messages.append((head, body.data))
            if body.take(buffer):
                body = None
    assert not buffer
    assert body is None or body.framing is Framing.UNTIL_CLOSE
    return messages


class _Body:
    def __init__(self, framing: Framing, length: int) -> None:
        self.framing = framing
        self.data = bytearray()
        self.missing = length if framing is Framing.LENGTH else 0
        self.scanner = ChunkScanner(SETTINGS)

    def take(self, buffer: bytearray) -> bool:
        """Take what belongs to the body; whether that was all of it."""
        if self.framing is Framing.CHUNKED:
            end = self.scanner.feed(buffer, 0, len(buffer))
            complete = end >= 0
            end = end if complete else len(buffer)
        elif self.framing is Framing.UNTIL_CLOSE:
            complete, end = False, len(buffer)
        else:
            end = min(self.missing, len(buffer))
            self.missing -= end
            complete = not self.missing
        self.data += buffer[:end]
        del buffer[:end]
        return complete


def fields_of(message: Message) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message.fields
    )


@given(st.data(), st.lists(requests(), min_size=1, max_size=3))
def test_pipelined_requests_are_read_as_they_were_meant_wherever_they_are_cut(
    data: st.DataObject, sent: list[Request]
) -> None:
    parts = data.draw(pieces(b"".join(request.data for request in sent)))
    read = read_stream(parts, HeadReader(SETTINGS).read_request, lambda head: head.framing)
    assert len(read) == len(sent)
    for request, (head, body) in zip(sent, read, strict=True):
        assert (head.raw, body) == (request.head, request.body)
        assert head.method.encode() == request.method
        assert head.target.encode("latin-1") == request.target
        assert "?".join([head.path, *([head.query] if "?" in head.target else [])]) == head.target
        assert head.minor == request.minor
        assert head.headers == fields_of(request)
        assert head.keep_alive == request.keeps
        assert head.expects_continue == request.expects
        if request.framing == "length":
            assert head.content_length == len(request.content)


@given(st.data(), st.lists(exchanges(keeps=True), min_size=1, max_size=3))
def test_responses_are_read_as_they_were_meant_wherever_they_are_cut(
    data: st.DataObject, made: list[Any]
) -> None:
    sent: list[Response] = [exchange.response for exchange in made]
    stream = b"".join(b"".join(response.interim) + response.data for response in sent)
    methods = iter([response.method.decode() for response in sent])
    method = next(methods)

    def framing_of(head: ResponseHead) -> Framing:
        nonlocal method
        framing = head.framing_for(method)
        if not head.interim:
            method = next(methods, "")
        return framing

    read = read_stream(data.draw(pieces(stream)), HeadReader(SETTINGS).read_response, framing_of)
    final = [message for message in read if not message[0].interim]
    assert [head.raw for head, _ in read if head.interim] == [
        raw for response in sent for raw in response.interim
    ]
    for response, (head, body) in zip(sent, final, strict=True):
        assert (head.raw, body) == (response.head, response.body)
        assert (head.status, head.minor) == (response.status, response.minor)
        assert head.headers == fields_of(response)
        assert head.keep_alive == response.keeps


@given(responses(keeps=False), st.data())
def test_a_response_until_close_is_read_to_its_end(response: Response, data: st.DataObject) -> None:
    parts = data.draw(pieces(response.data))
    ((head, body),) = read_stream(
        parts, HeadReader(SETTINGS).read_response, lambda head: head.framing_for("GET")
    )
    assert (head.raw, body) == (response.head, response.body)


@given(requests())
def test_a_request_that_nothing_changes_means_the_same_when_it_is_rebuilt(
    request: Request,
) -> None:
    reader = HeadReader(SETTINGS)
    head = reader.read_request(request.data)
    assert head is not None
    again = reader.read_request(rebuild_request(head))
    assert again is not None
    assert again.raw_is_forwardable
    assert [name for name, _ in again.headers] == [name for name, _ in head.headers]
    assert again.raw.startswith(request.first)
    for name in ("host", "framing", "content_length", "keep_alive", "expects_continue"):
        assert getattr(again, name) == getattr(head, name)


@given(requests(plain=True))
def test_a_plain_request_that_nothing_changes_is_rebuilt_as_it_was(request: Request) -> None:
    head = HeadReader(SETTINGS).read_request(request.data)
    assert head is not None
    assert head.raw_is_forwardable
    assert rebuild_request(head) == head.forwarded == request.head


@given(responses(plain=True))
def test_a_response_that_nothing_changes_is_rebuilt_as_it_was(response: Response) -> None:
    head = HeadReader(SETTINGS).read_response(response.data)
    assert head is not None
    assert head.raw_is_forwardable
    assert rebuild_response(head) == head.forwarded == response.head


@given(st.data(), contents)
def test_the_end_of_a_chunked_body_is_found_wherever_it_is_cut(
    data: st.DataObject, content: bytes
) -> None:
    body = data.draw(chunked(content))
    scanner = ChunkScanner(SETTINGS)
    *before, last = data.draw(pieces(body))
    for part in before:
        assert scanner.feed(part, 0, len(part)) == -1
    assert scanner.feed(b"??" + last + b"next", 2, len(last) + 6) == len(last) + 2


class Listener:
    """What llhttp has to tell."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.url = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@given(requests(common=True, plain=True))
def test_llhttp_reads_a_request_like_we_do(request: Request) -> None:
    listener = Listener()
    httptools.HttpRequestParser(listener).feed_data(request.data)
    head = HeadReader(SETTINGS).read_request(request.data)
    assert head is not None
    assert listener.complete == 1
    assert listener.url.decode("latin-1") == head.target
    # It takes blanks away before values only, and has trailers among the fields.
    fields = [(name, value.rstrip(" \t")) for name, value in listener.fields]
    assert tuple(fields[: len(head.headers)]) == head.headers
    assert listener.body == request.content


@given(requests(common=True, plain=True))
def test_h11_reads_a_request_like_we_do(request: Request) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request.data)
    event, body = connection.next_event(), b""
    assert isinstance(event, h11.Request)
    head = HeadReader(SETTINGS).read_request(request.data)
    assert head is not None
    assert event.target.decode("latin-1") == head.target
    assert [
        (name.decode("latin-1"), value.decode("latin-1").rstrip(" \t"))
        for name, value in event.headers
    ] == list(map(_as_h11_normalises, head.headers))
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert body == request.content


def _as_h11_normalises(field: tuple[str, str]) -> tuple[str, str]:
    name, value = field
    return (name, value.lower()) if name in {"transfer-encoding", "expect"} else field


@given(st.data(), requests(common=True, plain=True))
def test_whatever_is_accepted_of_a_damaged_request_llhttp_accepts_too(
    data: st.DataObject, request: Request
) -> None:
    head = bytearray(request.head)
    for _ in range(data.draw(st.integers(1, 3))):
        # Behind the method: llhttp refuses every one that it does not know.
        place = data.draw(st.integers(head.index(b" ") + 1, len(head)))
        width = data.draw(st.integers(0, 2))
        head[place : place + width] = data.draw(st.sampled_from(_DAMAGE))
    try:
        read = HeadReader(SETTINGS).read_request(head)
    except MalformedHead:
        return
    if read is None or not read.target.isascii():
        return
    listener = Listener()
    httptools.HttpRequestParser(listener).feed_data(read.raw)
    fields = [(name, value.rstrip(" \t")) for name, value in listener.fields]
    assert tuple(fields) == read.headers
    assert listener.complete == (read.framing is Framing.NONE)


_DAMAGE = (
    b"",
    b" ",
    b"\t",
    b":",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\x0b",
    b"\xa0",
    b"_",
    b"a",
    b"1",
)
