"""Flow control of links: bounded, never stuck, and no stream lives at its neighbours' expense."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemesh.policy.bus.credit import Incoming, LinkIncoming, LinkOutgoing, Outgoing
from edgemesh.wire.link.frames import LinkError

STREAM_WINDOW = 1000
MAX_STREAMS = 64
LINK_WINDOW = 16 * 1024


class Pair:
    """Both ends of one direction of a link, with frames that arrive when the test says so."""

    def __init__(self, streams: int, window: int = STREAM_WINDOW) -> None:
        self.sender = LinkOutgoing(LINK_WINDOW, MAX_STREAMS)
        self.receiver = LinkIncoming(LINK_WINDOW)
        self.outgoing = [Outgoing(window) for _ in range(streams)]
        self.incoming = [Incoming(window) for _ in range(streams)]
        self.data: list[tuple[int, int]] = []
        self.credit: list[tuple[int, int]] = []

    def send(self, stream: int, wanted: int) -> int:
        count = min(self.sender.room(self.outgoing[stream]), wanted)
        assert count >= 0
        if count:
            self.outgoing[stream].take(count)
            self.sender.take(count)
            assert self.sender.left >= 0
            assert self.outgoing[stream].left >= 0
            self.data.append((stream, count))
        return count

    def deliver_data(self) -> None:
        while self.data:
            stream, count = self.data.pop(0)
            self.incoming[stream].received(count)
            self.receiver.received(count)
            if self.receiver.presses():
                for number, incoming in enumerate(self.incoming):
                    self.credit.append((number, incoming.due()))

    def read(self, stream: int, most: int) -> int:
        incoming = self.incoming[stream]
        count = min(most, incoming.held)
        credit = incoming.consumed(count)
        if self.receiver.pressed:
            credit += incoming.due()
        self.credit.append((stream, credit))
        self.credit.append((-1, self.receiver.consumed(count)))
        self.receiver.presses()
        return count

    def deliver_credit(self) -> None:
        for stream, count in self.credit:
            if count:
                (self.sender if stream < 0 else self.outgoing[stream]).grant(count)
        self.credit.clear()


@given(
    st.integers(0, MAX_STREAMS - 1),
    st.integers(1, 3 * STREAM_WINDOW),
    st.integers(0, 2**32),
    st.integers(STREAM_WINDOW // 4, 2 * STREAM_WINDOW),
)
@settings(max_examples=50, deadline=None)
def test_streams_that_are_read_go_on_whatever_others_keep(
    stalled: int, window: int, seed: int, most: int
) -> None:
    chance = random.Random(seed)
    pair = Pair(MAX_STREAMS, window)
    live = range(stalled, MAX_STREAMS)
    wanted = dict.fromkeys(live, 4 * window + 1)
    # Conversations that came before leave credit behind that is due, but was not given back.
    for stream in range(MAX_STREAMS):
        pair.send(stream, chance.randint(0, window // 2))
    pair.deliver_data()
    for stream in range(MAX_STREAMS):
        pair.read(stream, window)
    for stream in chance.sample(range(stalled), stalled):
        while pair.send(stream, chance.randint(1, most)):
            if chance.random() < 0.5:
                pair.deliver_data()
                pair.deliver_credit()
    for _round in range(100_000):
        for stream in live:
            wanted[stream] -= pair.send(stream, min(most, wanted[stream]))
        pair.deliver_data()
        for stream in live:
            pair.read(stream, chance.randint(1, most))
        pair.deliver_credit()
        if not any(wanted.values()):
            return
    raise AssertionError(f"stuck with {sum(wanted.values())} bytes")


def test_what_is_kept_unread_is_bounded_by_the_window_of_the_link() -> None:
    pair = Pair(MAX_STREAMS)
    for stream in range(MAX_STREAMS):
        while pair.send(stream, STREAM_WINDOW):
            pair.deliver_data()
            pair.deliver_credit()
    assert LINK_WINDOW // 2 <= pair.receiver.held <= LINK_WINDOW


def test_a_stream_alone_has_its_whole_window() -> None:
    assert Pair(1).send(0, 10 * STREAM_WINDOW) == STREAM_WINDOW


def test_a_few_stalled_streams_leave_their_neighbours_the_whole_window() -> None:
    pair = Pair(5)
    for stream in range(4):
        pair.send(stream, STREAM_WINDOW)
    assert pair.send(4, STREAM_WINDOW) == STREAM_WINDOW


def test_half_of_the_window_of_a_link_is_never_taken_at_once_by_one_stream() -> None:
    pair = Pair(2, LINK_WINDOW)
    assert pair.send(0, LINK_WINDOW) == LINK_WINDOW // 2
    assert pair.send(1, LINK_WINDOW) == pair.sender.reserve


def test_small_messages_cost_no_credit_frames_until_half_of_the_window_is_used() -> None:
    incoming = Incoming(STREAM_WINDOW)
    for _ in range(49):
        incoming.received(10)
        assert incoming.consumed(10) == 0
    incoming.received(10)
    assert incoming.consumed(10) == 500


def test_more_than_there_was_credit_for_is_refused() -> None:
    incoming = Incoming(STREAM_WINDOW)
    incoming.received(STREAM_WINDOW)
    with pytest.raises(LinkError, match="window-exceeded: by 1 bytes"):
        incoming.received(1)


def test_more_credit_than_was_used_is_refused() -> None:
    outgoing = Outgoing(STREAM_WINDOW)
    outgoing.take(10)
    outgoing.grant(10)
    with pytest.raises(LinkError, match="too-much-credit: 1001 bytes of a window of 1000"):
        outgoing.grant(1)


def test_pressure_begins_once_and_ends_well_below() -> None:
    link = LinkIncoming(LINK_WINDOW)
    link.received(LINK_WINDOW // 8)
    assert link.presses()
    assert not link.presses()
    link.consumed(LINK_WINDOW // 16)
    link.presses()
    assert link.pressed
    link.consumed(1)
    link.presses()
    assert not link.pressed
