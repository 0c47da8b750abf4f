from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from edgemesh.wire.websocket_frames import FrameLimit, MessageTooLarge

LIMIT = 100_000


def frame(payload: bytes, *, client: bool) -> bytes:
    return bytes(FrameProtocol(client=client, extensions=[]).send_data(payload))


def fed(limit: FrameLimit, data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        limit.feed(data[start:end])


CUTS = st.lists(st.integers(0, 200_000), max_size=5)
SIZES = st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, LIMIT])


@given(sizes=st.lists(SIZES, max_size=4), cuts=CUTS, client=st.booleans())
def test_messages_within_the_limit_pass_wherever_the_bytes_are_cut(
    sizes: list[int], cuts: list[int], client: bool
) -> None:
    data = b"".join(frame(b"x" * size, client=client) for size in sizes)
    fed(FrameLimit(LIMIT), data, cuts)


@given(cuts=CUTS, before=SIZES, client=st.booleans())
def test_a_message_beyond_the_limit_is_refused(cuts: list[int], before: int, client: bool) -> None:
    data = frame(b"x" * before, client=client)
    data += frame(b"x" * (LIMIT + 1), client=client)
    with pytest.raises(MessageTooLarge, match=f"{LIMIT + 1} bytes or more, allowed are {LIMIT}"):
        fed(FrameLimit(LIMIT), data, cuts)


def test_a_frame_is_refused_by_its_header_alone() -> None:
    limit = FrameLimit(LIMIT)
    header = b"\x81\xff" + (1 << 30).to_bytes(8) + b"mask"
    limit.feed(header[:-1])
    with pytest.raises(MessageTooLarge):
        limit.feed(header[-1:])


def test_fragments_count_together_and_control_frames_between_them_do_not() -> None:
    limit = FrameLimit(10)
    limit.feed(b"\x01\x06abcdef")
    limit.feed(b"\x89\x03png")
    limit.feed(b"\x00\x04ghij")
    with pytest.raises(MessageTooLarge, match="11 bytes"):
        limit.feed(b"\x80\x01")


def test_the_next_message_is_counted_anew() -> None:
    limit = FrameLimit(10)
    for _ in range(3):
        limit.feed(b"\x81\x0aabcdefghij")


def test_a_control_frame_has_the_same_limit() -> None:
    with pytest.raises(MessageTooLarge):
        FrameLimit(10).feed(b"\x89\x0b")
