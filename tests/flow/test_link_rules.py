"""Rules of a link: whoever breaks one loses that link, with the rule's name, and nothing else."""

from __future__ import annotations

import errno
import re
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
from link_fixtures import (
    PATIENCE_SECONDS,
    WEB,
    Clock,
    End,
    Pair,
    Pki,
    a_pair,
    a_reactor,
    connected,
    shared_of,
    until,
)

from edgemesh.bus.link.link import Link
from edgemesh.bus.link.secured import Secured
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link import frames
from edgemesh.wire.link.frames import DATA, END, GOAWAY, HELLO, OPEN, OPENED, PING, RESET, WINDOW
from edgemesh.wire.link.opening import encode_opening

OPENING = encode_opening(WEB, "id", 1)
# node-a is the dialler: its streams are odd, and stream 1 is open.
BROKEN: dict[str, tuple[bytes, str]] = {
    "a frame that is too long": (b"\0\0\0\1\0\x7f\xff\xff", "frame-too-large"),
    "a mebibyte of PING": (b"\0\0\0\0\6\x10\0\0", "frame-too-large"),
    "an unknown kind of frame": (frames.frame(10, 0), "unknown-frame"),
    "a second HELLO": (frames.frame(HELLO, 0, b"{}"), "not-hello"),
    "OPEN with the other end's number": (frames.frame(OPEN, 2, OPENING), "wrong-stream"),
    "OPEN with a number that was used": (frames.frame(OPEN, 1, OPENING), "wrong-stream"),
    "OPEN that is no Message": (frames.frame(OPEN, 3, b"{}"), "malformed"),
    "OPEN that is no JSON": (frames.frame(OPEN, 3, b"\xff"), "malformed"),
    "OPEN after GOAWAY": (
        frames.goaway(0) + frames.frame(OPEN, 3, OPENING),
        "opened-while-leaving",
    ),
    "OPENED for a stream of its own": (frames.frame(OPENED, 1), "wrong-stream"),
    "DATA for a stream that never was": (frames.frame(DATA, 7, b"x"), "wrong-stream"),
    "DATA for the link": (frames.frame(DATA, 0, b"x"), "wrong-stream"),
    "END for a stream that never was": (frames.frame(END, 8), "wrong-stream"),
    "WINDOW for a stream that never was": (frames.window(7, 1), "wrong-stream"),
    "END with a payload": (frames.frame(END, 1, b"x"), "malformed"),
    "END twice": (frames.frame(END, 1) * 2, "sent-after-end"),
    "DATA after END": (frames.frame(END, 1) + frames.frame(DATA, 1, b"x"), "sent-after-end"),
    "RESET without errno": (frames.frame(RESET, 1, b"x"), "malformed"),
    "GOAWAY of a stream": (frames.frame(GOAWAY, 1, b"\0\0"), "wrong-stream"),
    "PING of the wrong length": (frames.frame(PING, 0, b"x"), "malformed"),
    "WINDOW of the wrong length": (frames.frame(WINDOW, 1, b"x"), "malformed"),
    "credit for what was not sent": (frames.window(1, 1), "too-much-credit"),
    "credit of the link for what was not sent": (frames.window(0, 1), "too-much-credit"),
    "more data than the window": (frames.frame(DATA, 1, bytes(65536)) * 17, "window-exceeded"),
    "a flood of PING": (frames.frame(PING, 0, bytes(8)) * 1100, "flood"),
    "a flood of empty DATA": (frames.frame(DATA, 1) * 1100, "flood"),
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def opened(pair: Pair) -> tuple[VirtualSocket, VirtualSocket]:
    near = pair.a.open()
    await until(lambda: pair.b.streams and not near.connecting)
    return near, pair.b.streams[-1]


@pytest.mark.parametrize("what", BROKEN)
async def test_whoever_breaks_a_rule_loses_that_link_alone(pki: Pki, what: str) -> None:
    data, name = BROKEN[what]
    async with a_reactor() as reactor:
        pair, bystander = Pair(reactor, pki), Pair(reactor, pki)
        for each in (pair, bystander):
            each.start()
            await each.is_up()
        near, far = await opened(pair)
        other_near, other_far = await opened(bystander)
        pair.a.do(lambda: pair.a.link.mux.sender.put(data))
        await until(lambda: pair.a.downs and pair.b.downs)
        assert pair.b.link.problem.startswith(f"{name}: ")
        # What was still under way to node-b may have reset the connection before that was read.
        told = f"node-b says: {name}: "
        assert pair.a.link.problem.startswith((told, "Connection reset by peer", "Broken pipe"))
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        # Whether it had heard an end before, or not.
        assert _broken_by(far) in {errno.ECONNRESET, errno.EPIPE}
        bystander.a.do(lambda: other_near.send(b"still here"))
        await until(lambda: bystander.b.link.mux.incoming.held == len(b"still here"))
        for sock in (near, far, other_near, other_far):
            sock.close()
        bystander.close()


@pytest.mark.parametrize("kind", [DATA, OPEN, PING, GOAWAY, RESET])
async def test_anything_before_hello_ends_the_link(pki: Pki, kind: int) -> None:
    async with a_reactor() as reactor:
        end = End(shared_of("node-b", reactor, pki.tls("node-b")))
        dialled, accepted = connected()
        end.link = Link(end.shared, end, accepted, "a:1")
        end.do(end.link.start)
        tls = pki.tls("node-a").for_end("node-b")
        stranger = Secured(shared_of("node-a", reactor, pki.tls("node-a")), dialled, tls, "node-b")
        while not stranger.shake():
            stranger.push()
            await trio.lowlevel.wait_readable(dialled)
            stranger.receive()
        stranger.write(bytearray(frames.frame(kind, 1, bytes(8))))
        stranger.push()
        await until(lambda: end.downs)
        assert end.link.problem.startswith("not-hello: ")
        assert not end.ups
        dialled.close()


async def test_a_hello_in_another_name_than_the_certificate_ends_the_link(pki: Pki) -> None:
    async with a_reactor() as reactor:
        pair = Pair(reactor, pki)
        a = End(shared_of("node-x", reactor, pki.tls("node-a")))
        dialled, accepted = connected()
        a.link = Link(a.shared, a, dialled, "b:1", expected="node-b")
        b = End(shared_of("node-b", reactor, pki.tls("node-b")))
        b.link = Link(b.shared, b, accepted, "a:1")
        for end in (a, b):
            end.do(end.link.start)
        await until(lambda: a.downs and b.downs)
        assert b.link.problem == "wrong-node: node-x, but its certificate node-a"
        pair.close()


def _is_settled(sock: VirtualSocket) -> bool:
    return not sock.connecting


def _broken_by(sock: VirtualSocket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


async def test_more_streams_than_were_allowed_end_the_link(pki: Pki) -> None:
    async with a_pair(pki, max_streams=3) as pair:
        near, far = await opened(pair)
        more = b"".join(frames.frame(OPEN, number, OPENING) for number in (3, 5, 7))
        pair.a.do(lambda: pair.a.link.mux.sender.put(more))
        await until(lambda: pair.b.downs)
        assert pair.b.link.problem == "too-many-streams: more than 3"
        for sock in (near, *pair.b.streams):
            sock.close()
        assert far.fileno() == -1


async def test_no_more_streams_are_asked_for_than_the_other_end_allows(pki: Pki) -> None:
    async with a_pair(pki, max_streams=2) as pair:
        socks = [pair.a.open(), pair.a.open()]
        allowed = [pair.a.link.may_open]
        await until(lambda: not any(sock.connecting for sock in socks))
        for sock in socks:
            sock.close()
        allowed.append(pair.a.link.may_open)
        assert allowed == [False, True]
        await until(lambda: not pair.b.link.mux.streams)
        for sock in pair.b.streams:
            sock.close()


async def test_streams_that_are_opened_too_fast_are_refused_one_by_one(pki: Pki) -> None:
    async with a_pair(pki, max_streams=5, stream_rate=1) as pair:
        refused = 0
        with trio.fail_after(PATIENCE_SECONDS):
            while refused < 2:
                sock = pair.a.open()
                await until(partial(_is_settled, sock))
                refused += _broken_by(sock) == errno.EAGAIN
                sock.close()
                await until(lambda: not pair.a.link.mux.streams and not pair.b.link.mux.streams)
        assert len(pair.b.streams) >= 5
        assert pair.a.link.problem == ""
        for sock in pair.b.streams:
            sock.close()


async def test_half_open_links_are_doubted_then_ended_by_silence(pki: Pki) -> None:
    clock = Clock()
    async with a_reactor(clock) as reactor:
        pair = Pair(reactor, pki)
        pair.start()
        await pair.is_up()
        near = pair.a.open()
        await until(lambda: not near.connecting)
        # node-b hangs: its kernel takes what comes, and it says nothing.
        reactor.unregister(pair.b.link.secured.sock.fileno())
        pair.b.link.attendance.stop()
        clock.skipped += 2.1
        await until(lambda: pair.a.link.attendance._liveness._waits)
        clock.skipped += 4.1
        await until(lambda: pair.a.link.attendance.doubted)
        assert pair.a.changes
        clock.skipped += 14
        await until(lambda: pair.a.downs)
        # Longer on a machine that stands still meanwhile.
        said = re.fullmatch(r"no word for (\d+) s", pair.a.link.problem)
        assert said is not None
        assert int(said[1]) >= 20
        near.close()
        pair.close()
        for sock in pair.b.streams:
            sock.close()


async def test_a_link_that_nobody_uses_is_closed_in_order_by_who_dialled_it(pki: Pki) -> None:
    async with a_reactor() as reactor:
        pair = Pair(reactor, pki, link_silence_seconds=10, link_idle_seconds=0.2)
        pair.start()
        await until(lambda: pair.a.downs and pair.b.downs)
        assert (pair.a.ups, pair.b.ups) == (1, 1)
        assert (pair.a.link.problem, pair.b.link.problem) == ("", "")


async def test_a_link_does_not_outlive_the_certificate_of_the_other_end(tmp_path: Path) -> None:
    clock = Clock()
    async with a_reactor(clock) as reactor:
        # An authority of this minute, however long other tests have taken: nothing outlives it.
        pair = Pair(reactor, Pki(tmp_path))
        pair.start()
        await pair.is_up()
        near = pair.a.open()
        await until(lambda: not near.connecting)
        for end in (pair.a, pair.b):
            end.link.attendance.stop()
        clock.skipped += 3560
        await until(lambda: pair.a.link.mux.left and pair.b.link.mux.left)
        assert not pair.a.downs
        clock.skipped += 60
        await until(lambda: pair.a.downs and pair.b.downs)
        assert "certificate has ended" in pair.a.link.problem + pair.b.link.problem
        for sock in (near, *pair.b.streams):
            sock.close()


async def test_who_says_nothing_is_not_waited_for(pki: Pki) -> None:
    clock = Clock()
    async with a_reactor(clock) as reactor:
        end = End(shared_of("node-b", reactor, pki.tls("node-b")))
        silent, accepted = connected()
        end.link = Link(end.shared, end, accepted, "a:1")
        end.do(end.link.start)
        clock.skipped += 11
        await until(lambda: end.downs)
        assert end.link.problem == "the handshake took too long"
        silent.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01\x40\x00"])
async def test_what_is_no_tls_is_refused(pki: Pki, said: bytes) -> None:
    async with a_reactor() as reactor:
        end = End(shared_of("node-b", reactor, pki.tls("node-b")))
        stranger, accepted = connected()
        end.link = Link(end.shared, end, accepted, "a:1")
        end.do(end.link.start)
        stranger.sendall(said)
        stranger.close()
        await until(lambda: end.downs)
        assert end.link.problem
