"""Streams of a link: whatever passes arrives as it was sent, and nobody suffers for another."""

from __future__ import annotations

import errno
import random
import socket

import pytest
import trio
from link_fixtures import DNS, Pair, Pki, Talker, a_pair, until

from edgemesh.reactor.virtual import VirtualSocket


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_a_thousand_streams_at_once_carry_what_they_are_given_both_ways(pki: Pki) -> None:
    chance = random.Random(1)
    async with a_pair(pki) as pair:
        answering: dict[int, Talker] = {}

        def answer(sock: VirtualSocket) -> None:
            number = len(answering)
            size = chance.choice([0, 1, 100, 5000, 100_000])
            answering[number] = Talker(sock, pair.reactor, size, number)

        pair.b.then = answer
        asking = [
            Talker(
                pair.a.open(),
                pair.reactor,
                chance.choice([0, 1, 100, 5000, 300_000]),
                5000 + number,
            )
            for number in range(1000)
        ]
        await until(lambda: len(answering) == 1000)
        await until(lambda: all(each.done for each in [*asking, *answering.values()]))
        for number, asked in enumerate(asking):
            answered = answering[number]
            assert (asked.problem, answered.problem) == (0, 0)
            assert asked.said == answered.heard
            assert answered.said == asked.heard
        assert not pair.a.link.mux.streams
        assert not pair.b.link.mux.streams


async def opened(pair: Pair) -> tuple[VirtualSocket, VirtualSocket]:
    """Both ends of a new stream."""
    before = len(pair.b.streams)
    near = pair.a.open()
    await until(lambda: len(pair.b.streams) > before and not near.connecting)
    return near, pair.b.streams[-1]


async def received(sock: VirtualSocket, count: int) -> bytes:
    parts = bytearray()

    def enough() -> bool:
        try:
            while part := sock.recv(count - len(parts)):
                parts.extend(part)
        except BlockingIOError:
            pass
        return len(parts) >= count

    await until(enough)
    return bytes(parts)


async def test_an_end_that_has_said_all_still_hears_the_other(pki: Pki) -> None:
    async with a_pair(pki) as pair:
        near, far = await opened(pair)
        pair.a.do(lambda: near.send(b"question"))
        pair.a.do(lambda: near.shutdown(socket.SHUT_WR))
        assert await received(far, 8) == b"question"
        await until(lambda: far.recv(1) == b"")
        pair.b.do(lambda: far.send(b"answer"))
        assert await received(near, 6) == b"answer"
        pair.b.do(lambda: far.shutdown(socket.SHUT_WR))
        await until(lambda: not pair.a.link.mux.streams and not pair.b.link.mux.streams)
        near.close()
        far.close()


async def test_resets_at_random_points_reach_the_other_end_and_harm_nobody_else(pki: Pki) -> None:
    chance = random.Random(2)
    async with a_pair(pki) as pair:
        answering: list[Talker] = []
        pair.b.then = lambda sock: answering.append(
            Talker(sock, pair.reactor, 200_000, len(answering))
        )
        asking = [Talker(pair.a.open(), pair.reactor, 200_000, 5000 + n) for n in range(200)]
        for talker in asking[::2]:
            talker.reset_after = chance.randint(0, 150_000)
        await until(lambda: len(answering) == len(asking))
        await until(lambda: all(each.done for each in [*asking, *answering]))
        for number, (asked, answered) in enumerate(zip(asking, answering, strict=True)):
            if number % 2:
                assert (asked.problem, answered.problem) == (0, 0)
                assert (asked.said, answered.said) == (answered.heard, asked.heard)
            else:
                assert answered.problem in {errno.ECONNRESET, errno.EPIPE}
        assert not pair.a.link.mux.streams
        assert not pair.b.link.mux.streams
        assert pair.b.link.mux.incoming.held == 0


async def test_streams_that_nobody_reads_are_bounded_and_their_neighbours_go_on(pki: Pki) -> None:
    window, link_window = 65536, 1 << 20
    async with a_pair(pki, stream_window_bytes=window, link_window_bytes=link_window) as pair:
        answering: list[Talker] = []
        pair.b.then = lambda sock: answering.append(
            Talker(sock, pair.reactor, 1000, len(answering), reads=len(answering) >= 40)
        )
        stalled = [Talker(pair.a.open(), pair.reactor, 500_000, n) for n in range(40)]
        await until(lambda: len(answering) == 40)
        await until(lambda: pair.b.link.mux.incoming.held > link_window // 2)
        live = [Talker(pair.a.open(), pair.reactor, 200_000, 100 + n) for n in range(10)]
        await until(lambda: len(answering) == 50)
        await until(lambda: all(each.done for each in [*live, *answering[40:]]))
        for asked, answered in zip(live, answering[40:], strict=True):
            assert asked.said == answered.heard
        assert pair.b.link.mux.incoming.held <= link_window
        assert all(each.sent <= window for each in stalled)
        for each in answering:
            each.go_on()
        await until(lambda: all(each.done for each in [*stalled, *answering]))
        for asked, answered in zip(stalled, answering, strict=False):
            assert asked.said == answered.heard


async def test_a_link_that_takes_nothing_keeps_no_more_than_its_buffer(pki: Pki) -> None:
    async with a_pair(
        pki, stream_window_bytes=1 << 24, link_window_bytes=1 << 28, link_buffer_bytes=65536
    ) as pair:
        # A whole kernel's worth of data, and nobody who reads it.
        pair.reactor.unregister(pair.b.link.secured.sock.fileno())
        sock = pair.a.open()
        pair.a.do(sock.opened)
        pair.a.link.mux.streams[1].opening = False
        flood = Talker(sock, pair.reactor, 1 << 26, 1)
        before = -1
        with trio.fail_after(20):
            while flood.sent != before:
                before = flood.sent
                await trio.sleep(0.2)
        sender, secured = pair.a.link.mux.sender, pair.a.link.secured
        assert len(sender.out) + len(secured.unsent) <= 4 * 65536
        assert flood.sent < 1 << 26
        flood.close()


async def test_streams_with_much_to_send_have_equal_shares(pki: Pki) -> None:
    async with a_pair(pki, link_buffer_bytes=131072) as pair:
        answering: list[Talker] = []
        pair.b.then = lambda sock: answering.append(Talker(sock, pair.reactor, 0, 0))
        asking = [Talker(pair.a.open(), pair.reactor, 3_000_000, n) for n in range(20)]
        await until(lambda: any(each.done for each in asking))
        least = min(each.received for each in answering)
        assert least > 1_500_000
        await until(lambda: all(each.done for each in [*asking, *answering]))


async def test_datagrams_arrive_whole_or_not_at_all(pki: Pki) -> None:
    async with a_pair(pki, stream_window_bytes=16384) as pair:
        near = pair.a.open(DNS)
        await until(lambda: pair.b.streams and not near.connecting)
        far = pair.b.streams[0]
        sizes = [0, 1, 1200, 9000, *([1000] * 30), 65507]
        pair.a.do(lambda: [near.send(bytes(size)) for size in sizes])
        assert pair.a.link.mux.sender.dropped_datagrams > 0
        got: list[int] = []

        def no_more() -> bool:
            try:
                while True:
                    got.append(len(far.recv(70_000)))
            except BlockingIOError:
                return len(got) == len(sizes) - pair.a.link.mux.sender.dropped_datagrams

        await until(no_more)
        assert got == sizes[: len(got)]
        # What was read makes room for more.
        pair.a.do(lambda: near.send(b"again"))
        await until(lambda: far.recv(100, socket.MSG_PEEK) if _has_data(far) else b"")
        assert far.recv(100) == b"again"
        near.close()
        far.close()


def _has_data(sock: VirtualSocket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


async def test_who_closes_without_reading_on_resets_whoever_still_writes(pki: Pki) -> None:
    async with a_pair(pki) as pair:
        near, far = await opened(pair)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
        pair.b.do(far.close)
        await until(lambda: near.recv(1) == b"" if _has_data(near) else False)
        pair.a.do(lambda: near.send(b"more"))
        await until(lambda: near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        await until(lambda: not pair.b.link.mux.streams)
        near.close()


async def test_a_stream_that_the_other_end_never_ends_is_given_up(pki: Pki) -> None:
    async with a_pair(pki, stream_linger_seconds=0.05) as pair:
        near, far = await opened(pair)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
        pair.b.do(far.close)
        await until(lambda: not pair.a.link.mux.streams and not pair.b.link.mux.streams)
        near.close()
