"""Frames of a link: written and read again, in any pieces, and refused when they are wrong."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.link import frames
from edgemesh.wire.link.frames import FrameReader, Hello, LinkError, Violation

MAX_FRAME = 70_000
STREAMS = st.integers(0, frames.LARGEST_STREAM_ID)
HELLO = Hello(
    version=1,
    node="node-a",
    max_frame=65536,
    stream_window=262144,
    link_window=1 << 24,
    max_streams=4096,
)


class Recorder(FrameReader):
    def __init__(self) -> None:
        super().__init__(MAX_FRAME)
        self.heard: list[tuple[int, int, bytes]] = []

    def on_data(self, stream_id: int, data: memoryview, begin: int, end: int) -> None:
        self.heard.append((frames.DATA, stream_id, bytes(data[begin:end])))

    def on_control(self, kind: int, stream_id: int, payload: bytes) -> None:
        self.heard.append((kind, stream_id, payload))


def read(data: bytes) -> list[tuple[int, int, bytes]]:
    recorder = Recorder()
    assert recorder.read(memoryview(data), len(data)) == len(data)
    return recorder.heard


@given(
    st.lists(st.tuples(st.integers(0, 9), STREAMS, st.binary(max_size=40))),
    st.lists(st.integers(1, 30)),
)
def test_frames_are_read_as_they_were_written_whatever_pieces_they_come_in(
    said: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frames.frame(*of) for of in said)
    recorder, kept = Recorder(), b""
    while data or cuts:
        count = cuts.pop() if cuts else len(data)
        kept += data[:count]
        data = data[count:]
        kept = kept[recorder.read(memoryview(kept), len(kept)) :]
    assert kept == b""
    assert recorder.heard == said


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(data: bytes) -> None:
    violation = None
    try:
        assert 0 <= Recorder().read(memoryview(data), len(data)) <= len(data)
    except LinkError as error:
        violation = error.violation
    assert violation in {None, Violation.FRAME_TOO_LARGE, Violation.UNKNOWN_FRAME}


@given(STREAMS, st.binary(max_size=100))
def test_data_may_be_written_behind_its_header(stream_id: int, data: bytes) -> None:
    written = frames.data_header(stream_id, len(data)) + data
    assert read(written) == [(frames.DATA, stream_id, data)]


def test_only_what_is_shown_of_a_buffer_is_read() -> None:
    data = frames.frame(frames.END, 1) + frames.frame(frames.END, 3)
    recorder = Recorder()
    assert recorder.read(memoryview(data), 8) == 8
    assert recorder.heard == [(frames.END, 1, b"")]


@pytest.mark.parametrize("header", [MAX_FRAME + 1, frames.PING << 24 | frames.CONTROL_BYTES + 1])
def test_a_frame_that_is_too_long_is_refused_by_its_header(header: int) -> None:
    data = struct.pack(">LL", 1, header)
    with pytest.raises(LinkError, match="frame-too-large"):
        read(data)


def test_what_claims_to_have_a_gibibyte_is_refused_by_its_header() -> None:
    with pytest.raises(LinkError, match="unknown-frame"):
        read(struct.pack(">LL", 1, 1 << 30))


def test_a_datagram_of_any_size_fits_a_frame_however_short_frames_are() -> None:
    class Short(Recorder):
        def __init__(self) -> None:
            super().__init__()
            FrameReader.__init__(self, 1024)

    recorder = Short()
    data = frames.frame(frames.DATA, 1, bytes(65507))
    assert recorder.read(memoryview(data), len(data)) == len(data)


@given(st.integers(1, frames.LARGEST_CREDIT))
def test_credit_arrives(credit: int) -> None:
    ((kind, stream_id, payload),) = read(frames.window(5, credit))
    assert (kind, stream_id) == (frames.WINDOW, 5)
    assert frames.read_credit(payload) == credit


@pytest.mark.parametrize(
    ("payload", "violation"),
    [
        (b"", "malformed"),
        (b"\0\0\0\1\0", "malformed"),
        (b"\0\0\0\0", "too-much-credit"),
        (b"\x80\0\0\0", "too-much-credit"),
    ],
)
def test_credit_that_is_none_or_too_much_is_refused(payload: bytes, violation: str) -> None:
    with pytest.raises(LinkError, match=violation):
        frames.read_credit(payload)


@given(st.integers(0, 65535), st.text(max_size=300))
def test_reasons_arrive_in_printable_form(problem: int, reason: str) -> None:
    for written in (frames.reset(7, problem, reason), frames.goaway(problem, reason)):
        ((_, _, payload),) = read(written)
        got, text = frames.read_reason(payload)
        assert got == problem
        assert text.isprintable()
        if reason.isprintable() and reason.isascii():
            assert text == reason[:256]


def test_a_reason_is_cut_at_a_whole_character() -> None:
    ((_, _, payload),) = read(frames.reset(7, 1, "x" + "é" * 200))
    assert frames.read_reason(payload)[1] == "x" + "é" * 127


def test_a_reason_without_its_number_is_refused() -> None:
    with pytest.raises(LinkError, match="malformed"):
        frames.read_reason(b"\0")


def test_hello_arrives() -> None:
    ((kind, stream_id, payload),) = read(frames.hello(HELLO))
    assert (kind, stream_id) == (frames.HELLO, 0)
    assert frames.read_hello(payload) == HELLO


def test_what_hello_says_besides_is_left_out_of_account() -> None:
    said = {**msgspec.to_builtins(HELLO), "later": [1, 2]}
    assert frames.read_hello(msgspec.json.encode(said)) == HELLO


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_frame", 1),
        ("max_frame", 2**24),
        ("stream_window", 0),
        ("link_window", 2**31),
        ("max_streams", 0),
        ("node", 5),
        ("version", None),
    ],
)
def test_a_hello_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    said = {**msgspec.to_builtins(HELLO), field: value}
    with pytest.raises(LinkError, match=rf"malformed: HELLO: .*{field}"):
        frames.read_hello(msgspec.json.encode(said))


@pytest.mark.parametrize("payload", [b"", b"{", b"[" * 10_000, b"\xff"])
def test_a_hello_that_is_not_json_is_refused(payload: bytes) -> None:
    with pytest.raises(LinkError, match="malformed: HELLO"):
        frames.read_hello(payload)


def test_another_version_is_refused_by_its_number() -> None:
    said = {**msgspec.to_builtins(HELLO), "version": 2}
    with pytest.raises(LinkError, match="unknown-version: 2, not 1"):
        frames.read_hello(msgspec.json.encode(said))
