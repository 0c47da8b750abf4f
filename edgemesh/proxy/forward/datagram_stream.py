"""A stream of datagrams from another end of the mesh: a client's session, and where it answers."""

from __future__ import annotations

import errno

from edgemesh.kernel.sockets import Address, fin_on_close
from edgemesh.model.flows import Ending, FlowFacts
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.session import IN_ORDER, Session, Sessions
from edgemesh.reactor.reactor import IN
from edgemesh.reactor.virtual import VirtualSocket

# Datagrams taken from the stream at one event.
_BUDGET = 32


class DatagramStream:
    """The handler of the stream, and what its session answers by.

    Ownership: the stream is closed here, when the session is over.
    """

    __slots__ = ("_context", "_over", "_session", "_sessions", "_stream")

    def __init__(self, context: Context, sessions: Sessions, stream: VirtualSocket) -> None:
        """Prepare; `start` begins the session."""
        self._context = context
        self._sessions = sessions
        self._stream = stream
        self._session: Session | None = None
        self._over = False

    def start(self, facts: FlowFacts, verdict: Verdict) -> None:
        """Take the stream, and pass on what comes by it."""
        # Streams of one client differ by their descriptors.
        key = (facts.client, (facts.destination[0], self._stream.fileno()))
        session = Session(self._context, self._sessions, self, key, facts=facts, verdict=verdict)
        self._session = session
        if session.start():
            self._stream.accept()
            self._context.reactor.watch(self._stream.fileno(), self, IN)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - recv() tells errors too
        """Pass on what has come, within the turn's budget."""
        session = self._session
        assert session is not None
        buffer = self._context.buffer
        for _ in range(_BUDGET):
            if session.is_stale():
                session.finish(Ending.CLOSED, "endpoint removed")
            if self._over:
                return
            try:
                count = self._stream.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(session, error)
                return
            session.send(buffer[:count])

    def on_bug(self, error: Exception) -> None:
        """End the session."""
        if self._session is not None:
            self._session.finish(Ending.ERROR, type(error).__name__)

    def _end(self, session: Session, error: OSError) -> None:
        if error.errno == errno.ENOTCONN:
            session.finish(Ending.CLOSED, "ended at the other end")
        else:
            session.finish(Ending.CLIENT_RESET, error.strerror or "")

    # As the session has it.

    def borrow(self, service: Address) -> None:
        """Answers leave by the stream."""

    def give_back(self, service: Address, ending: Ending) -> None:  # noqa: ARG002 - there is but one
        """The session is over."""
        self._over = True
        if self._stream.connecting:
            self._stream.refuse(errno.ECONNREFUSED, "no endpoint takes datagrams")
        elif ending in IN_ORDER:
            fin_on_close(self._stream)
        self._context.reactor.close(self._stream)

    def send(self, client: Address, local: Address, data: memoryview) -> None:  # noqa: ARG002
        """Answer the client.

        Raises:
            OSError: the other end takes none now, or is gone.
        """
        self._stream.send(data)
