"""A link: one connection to another end, from its first byte to its last.

All that is sent within a turn leaves at its end in one write (`sending.Sender`, `Secured`).
"""

from __future__ import annotations

import errno
import os
import socket
import time
import uuid
from functools import partial

from edgemesh.bus.link.attendance import Attendance
from edgemesh.bus.link.mux import Mux
from edgemesh.bus.link.roles import CONNECTING, GREETING, OVER, SHAKING, UP, Owner
from edgemesh.bus.link.secured import Secured
from edgemesh.bus.link.shared import LAST_SECONDS, Shared
from edgemesh.bus.link.stream import Near, Stream
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.services import Transport
from edgemesh.reactor.reactor import HANGUP_IN, IN, OUT, Handler
from edgemesh.reactor.timers import Timer
from edgemesh.wire.link.frames import Hello, LinkError, Violation, goaway, hello
from edgemesh.wire.link.opening import Opening, decode_opening, encode_opening


class Link:
    """One connection, and the handler of its events.

    Ownership: closes its socket when it ends.

    Attributes:
        node: who is at the other end, "" until its certificate has said so.
        address: of the other end.
        dialler: whether this end has dialled.
        keep: it is not closed when nobody uses it.
        state: how far it has come.
        owner: who is told.
        secured: the connection.
        problem: why it is over, "" when it was closed in order.
        attendance: whether the other end is there.
        mux: its streams.
    """

    __slots__ = (
        "_expected",
        "_reactor",
        "_rest_since",
        "_sender",
        "_shared",
        "_timers",
        "_watched",
        "_woken",
        "address",
        "attendance",
        "dialler",
        "keep",
        "mux",
        "node",
        "owner",
        "problem",
        "secured",
        "state",
    )

    def __init__(
        self,
        shared: Shared,
        owner: Owner,
        sock: socket.socket,
        address: str,
        *,
        expected: str = "",
        server_name: str = "",
        keep: bool = False,
    ) -> None:
        """Take a socket that is connected, or connecting; see `start`.

        Args:
            shared: what all links have.
            owner: see there.
            sock: non-blocking.
            address: of the other end, for people.
            expected: who was dialled, "" when the other end has dialled.
            server_name: of the certificate, where that is not the node's.
            keep: see above.
        """
        self._shared = shared
        self._reactor = shared.reactor
        self.owner = owner
        self._expected = expected
        self.address = address
        self.dialler = bool(expected)
        self.keep = keep
        self.node = ""
        self.state = CONNECTING if self.dialler else SHAKING
        self.problem = ""
        settings = shared.settings
        self.mux = Mux(
            self,
            shared.hello,
            dialler=self.dialler,
            buffer_bytes=settings.link_buffer_bytes,
            stream_rate=settings.stream_rate,
            now=shared.reactor.now,
        )
        self._sender = self.mux.sender
        context = shared.tls.for_end(expected)
        self.secured = Secured(shared, sock, context, server_name or expected)
        self.attendance = Attendance(
            self._reactor, self, self._sender, settings.link_silence_seconds
        )
        self._watched = -1
        self._woken = False
        self._rest_since = shared.reactor.now
        # The deadline of the beginning, and the end of the other end's certificate.
        self._timers: list[Timer[Handler]] = []

    def start(self) -> None:
        """Wait for the connection, or for the other end's first bytes."""
        self._timers = [self._reactor.after(self._shared.settings.dial_seconds, self, self._expire)]
        events = OUT if self.state == CONNECTING else IN | HANGUP_IN
        self._reactor.watch_newcomer(self.secured.sock.fileno(), self, events)

    def on_events(self, events: int) -> None:
        """Write what waits for the socket, then read once from it."""
        if self.state == CONNECTING:
            self._connected()
            return
        if events & OUT and self.secured.unsent and self._push():
            self.flush()
        if events & ~OUT and self.state != OVER:
            self._read()

    def on_bug(self, error: Exception) -> None:
        """The reactor has logged it."""
        self.end(f"a bug: {type(error).__name__}")

    # Streams.

    @property
    def may_open(self) -> bool:
        """Whether `open` may be called."""
        return self.state == UP and self.mux.may_open()

    def open(self, opening: Opening, near: Near) -> Stream:
        """Ask for a stream; `may_open` has said yes.

        Raises:
            ValueError: names within are too long.
        """
        message = encode_opening(opening, str(uuid.uuid4()), int(time.time() * 1000))
        stream = self.mux.open(message, datagrams=opening.transport is Transport.UDP)
        stream.near = near
        return stream

    # How it ends.

    def check_again(self) -> None:
        """End when the other end's certificate was revoked."""
        try:
            self._shared.check(self.secured.certificate())
        except CertificateProblem as problem:
            self.end(str(problem))

    def drain(self, reason: str) -> None:
        """Take and open no streams any more, and end when the last one has ended."""
        if self.state != UP:
            self.end(reason)
        elif not self.mux.left:
            self._leave(reason)

    def end(self, problem: str, violation: int = 0) -> None:
        """Close the connection, and reset its streams.

        Args:
            problem: why, "" for in order.
            violation: an errno when the other end is to be told.
        """
        if self.state == OVER:
            return
        if violation:
            self._sender.put(goaway(violation, problem))
        self._last_words()
        self.state = OVER
        self.problem = problem
        self.attendance.stop()
        for timer in self._timers:
            timer.cancel()
        self._reactor.close(self.secured.sock)
        self._shared.ended.add(self)
        self.mux.lose(errno.ECONNRESET, f"the link to {self.node or self.address}: {problem}")
        self.owner.went_down(self)

    def _leave(self, reason: str) -> None:
        self.mux.left = True
        self._sender.put(goaway(0, reason))
        self.owner.changed(self)
        self._end_in_order()

    def _end_in_order(self) -> None:
        """Do so at the end of the turn, when both ends have said that they leave."""
        if self.mux.left and self.mux.heard_goaway and not self.mux.streams:
            self._reactor.soon(self, partial(self.end, ""))

    def _last_words(self) -> None:
        """Write what fits, nobody waits for the rest; an alert of the handshake, too."""
        shaken = self.state in {GREETING, UP}
        # Who dialled somebody else does not say who it is (`pki.contexts`).
        if self.secured.unsent or (self.dialler and not shaken):
            return
        try:
            if shaken and self._sender.out:
                self.secured.write(self._sender.out)
            self.secured.push()
        except OSError:
            return

    # What the streams want of the connection (`mux.Carrier`).

    def wake(self) -> None:
        """There is something to send: do so at the end of the turn."""
        if not self._woken:
            self._woken = True
            self._reactor.soon(self, self.flush)

    def encrypt(self, data: bytearray | bytes | memoryview) -> None:
        """Send ``data`` at the end of the turn, before anything that is written later."""
        self.secured.write(data)

    def greeted(self, said: Hello) -> None:
        """The other end says who it is; its certificate has said so already."""
        if said.node != self.node:
            raise LinkError(Violation.WRONG_NODE, f"{said.node}, but its certificate {self.node}")

    def came_up(self) -> None:
        """Streams may be opened."""
        self.state = UP
        self._watched = -1
        self._watch()
        self._rest_since = self._reactor.now
        self._timers[0].cancel()
        self.attendance.begin()
        self.owner.came_up(self)

    def wanted(self, stream: Stream, message: bytes) -> None:
        """The other end wants a stream."""
        opening = decode_opening(message)
        stream.datagrams = opening.transport is Transport.UDP
        self.owner.wanted(self, stream, opening)

    def ponged(self, payload: bytes) -> None:
        """The other end has answered."""
        self.attendance.ponged(payload)

    def leaving(self, problem: int, reason: str) -> None:
        """The other end opens no more streams, or none of ours can go on."""
        if problem:
            self.end(f"{self.node} says: {reason}")
        elif self.mux.left:
            self._end_in_order()
        else:
            self._leave("")

    def at_rest(self) -> None:
        """The last stream is over."""
        self._rest_since = self._reactor.now
        self._end_in_order()

    def linger(self, stream: Stream) -> Timer[Handler]:
        """Reset a stream that the other end does not end, after a while."""
        return self._reactor.after(
            self._shared.settings.stream_linger_seconds, self, stream.give_up
        )

    # The connection.

    def flush(self) -> None:
        """Write what there is."""
        self._woken = False
        if self.secured.unsent or self.state == OVER:
            return
        out = self._sender.out
        if out:
            self.secured.write(out)
            out.clear()
        self._push()

    def _push(self) -> bool:
        """Send what is encrypted; whether all of it was."""
        try:
            unsent = self.secured.push()
        except OSError as error:
            self.end(error.strerror or "cannot be written")
            return False
        self._sender.kept(unsent)
        self._watch()
        if unsent:
            return False
        self._sender.call()
        return True

    def _watch(self) -> None:
        wanted = IN | HANGUP_IN | (OUT if self.secured.unsent else 0)
        if wanted == self._watched:
            return
        self._watched = wanted
        watch = self._reactor.watch if self.state == UP else self._reactor.watch_newcomer
        watch(self.secured.sock.fileno(), self, wanted)

    def _connected(self) -> None:
        problem = self.secured.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self.end(os.strerror(problem).lower())
            return
        self.state = SHAKING
        self._shake()

    def _shake(self) -> None:
        try:
            if not self.secured.shake():
                self._push()
                return
            der = self.secured.certificate()
            self.node, left = self._shared.identify(der, self._expected)
        except CertificateProblem as problem:
            self.end(str(problem))
            return
        after = self._reactor.after
        leave = partial(self.drain, "its certificate ends")
        self._timers += [
            after(max(left - LAST_SECONDS, 0.0), self, leave),
            after(left, self, partial(self.end, "its certificate has ended")),
        ]
        self.state = GREETING
        self._sender.put(hello(self._shared.hello))

    def _read(self) -> None:
        secured = self.secured
        try:
            if not secured.receive():
                self._closed()
                return
        except BlockingIOError:
            return
        except OSError as error:
            self.end(error.strerror or "cannot be read")
            return
        if self.state == SHAKING:
            self._shake()
        if self.state in {GREETING, UP}:
            self._take()

    def _take(self) -> None:
        """Act on what has come."""
        plain = self._shared.plain
        try:
            size = self.secured.decrypt(plain)
            if self.attendance.heard():
                self.owner.changed(self)
            used = self.mux.take(plain, size, self._reactor.now)
        except CertificateProblem as problem:
            self.end(str(problem))
            return
        except LinkError as error:
            self.end(str(error), errno.EPROTO)
            return
        if used < size:
            self.secured.keep(plain[used:size])
        if self.secured.closed:
            self._closed()

    def _closed(self) -> None:
        unexpected = self.mux.streams or not self.mux.left
        self.end("closed by the other end" if unexpected else "")

    # Time (`attendance.Attended`).

    @property
    def is_busy(self) -> bool:
        """Whether there are streams."""
        return bool(self.mux.streams)

    def doubts(self) -> None:
        """The other end has not answered for suspiciously long."""
        self.owner.changed(self)

    def looked(self) -> None:
        """See whether anybody uses the link."""
        idle = self._reactor.now - self._rest_since
        if self.mux.streams:
            # Whoever was promised room has perhaps not used it.
            self._sender.call()
        elif self.dialler and not self.keep and idle > self._shared.settings.link_idle_seconds:
            self.drain("nobody uses it")

    def _expire(self) -> None:
        self.end("no answer" if self.state == CONNECTING else "the handshake took too long")
