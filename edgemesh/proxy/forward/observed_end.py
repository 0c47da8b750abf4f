"""The client's side of a flow whose requests the kernel counts, while the agent moves its bytes.

The kernel looks at what comes whoever moves it, before the agent can read it. A request that is
over the quota is left in front of the agent, which takes it away and answers in its place: when
all that the endpoint has answered before has been sent to the client.
"""

from __future__ import annotations

import socket

from edgemesh.kernel.bpf.observed_maps import Watch
from edgemesh.kernel.sockets import Socket
from edgemesh.kernel.tcp_state import tcp_state
from edgemesh.model.flows import Ending, Refusal
from edgemesh.proxy.forward.carried import Direction
from edgemesh.proxy.forward.gate_member import Member
from edgemesh.proxy.forward.held import HeldEnd
from edgemesh.proxy.forward.pump import Pump
from edgemesh.proxy.http.answers import refuse
from edgemesh.proxy.http1.answering import answer_bytes


class ObservedEnd(HeldEnd):
    """A held end that answers what is refused."""

    __slots__ = ("_member", "_watch")

    def __init__(
        self, member: Member, watch: Watch, pump: Pump, sock: Socket, direction: Direction
    ) -> None:
        """Be the direction from the client from now on."""
        super().__init__(member.client, pump, sock, direction)
        self._member = member
        self._watch = watch

    def read(self, most: int = 0) -> None:  # noqa: ARG002 - what it reads is up to itself
        """Read once, up to a request that is refused, or of that."""
        if not self._may_send():
            self._wait()
            return
        side = self._side
        seen = side.way.passed - side.sent
        # It takes the lock: what the kernel has found in these bytes is written down by now.
        tcp_state(self.sock)
        if seen <= 0:
            self._look()
            return
        refusal = self._watch.refusal()
        if refusal is not None:
            first, end = refusal
            before = first - side.way.redirected - side.sent
            if before <= 0:
                self._refuse(seen, end and end - first + before)
                return
            seen = min(seen, before)
        super().read(min(seen, len(self.pump.flow.context.relay_buffer)))

    def last_words(self) -> None:
        """Pass on what the client said, unless it is refused: the client hears of it no more."""
        if self._watch.refusal() is None:
            super().last_words()

    def _look(self) -> None:
        """See whether it is an end that epoll has told of."""
        try:
            if not self.sock.recv(1, socket.MSG_PEEK):
                self.end_of_stream()
        except BlockingIOError:
            pass
        except OSError as error:
            self.pump.reset(self, error)

    def _refuse(self, seen: int, rest: int) -> None:
        """Take away a request, and answer it when there is nothing of it any more.

        Args:
            seen: bytes that lie here.
            rest: of the request; 0 when that is not known.
        """
        endless = not rest and bool(self._watch.unobserved)
        if (rest or endless) and not self._is_our_turn():
            self._wait()
            return
        taken = self._take_away(min(seen, rest or seen))
        if self.pump.flow.held_by(self.pump) and (endless or (rest and taken == rest)):
            self._answer(close=endless)

    def _is_our_turn(self) -> bool:
        """Whether the client's socket has been given all that the endpoint has said."""
        endpoint = self._member.endpoint
        if self.other.unsent or not endpoint.all_is_sent():
            return False
        return endpoint.has_arrived(tcp_state(self.sock))

    def _take_away(self, count: int) -> int:
        """Read bytes that nobody gets; how many."""
        pump = self.pump
        buffer = pump.flow.context.relay_buffer
        taken = 0
        try:
            while taken < count:
                read = self.sock.recv_into(buffer, min(count - taken, len(buffer)))
                if not read:
                    break  # It is read again as an end of stream.
                taken += read
        except BlockingIOError:
            pass
        except OSError as error:
            pump.reset(self, error)
            return 0
        self._side.consume(taken)
        pump.carried.last_active = pump.reactor.now
        return taken

    def _answer(self, *, close: bool) -> None:
        flow = self.pump.flow
        assert flow.verdict is not None
        flow.context.reports.refused_request(flow.verdict.port, Refusal.QUOTA)
        watch = self._watch
        answer = refuse(Refusal.QUOTA, wait_seconds=watch.wait_seconds)
        text = answer_bytes(answer, "HEAD" if watch.wants_no_body else "", close=close)
        watch.answered()
        self._member.endpoint.put_in(len(text))
        self.other.unsent = text
        self.other.turn_stuck(stuck=True)
        self.other.send_rest()
        if close and flow.held_by(self.pump):
            flow.finish(Ending.CLOSED, Refusal.QUOTA, reset=False)
