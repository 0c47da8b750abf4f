"""What goes to the client, and what of it the client does not take yet."""

from __future__ import annotations

from edgemesh.model.flows import Ending
from edgemesh.proxy.flow import Flow


class Outgoing:
    """The writing side of a client's socket.

    Attributes:
        unsent: not taken by the socket yet. Whoever reads for the client stops reading then, so
            that it is one read at most, and an answer of our own.
    """

    __slots__ = ("_flow", "_sock", "unsent")

    def __init__(self, flow: Flow) -> None:
        """Write to the flow's client."""
        self._flow = flow
        self._sock = flow.client
        self.unsent: bytes | memoryview = b""

    def send(self, data: bytes) -> None:
        """Give the client what it takes; when it is gone the flow is over."""
        if self.unsent:
            self.unsent = bytes(self.unsent) + data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._flow.finish(Ending.CLIENT_RESET, error.strerror or "")
            return
        self._flow.bytes_received += sent
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]

    def send_unsent(self) -> bool:
        """The same for what waits. Returns whether all of it is gone."""
        data, self.unsent = self.unsent, b""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._flow.finish(Ending.CLIENT_RESET, error.strerror or "")
            return False
        self._flow.bytes_received += sent
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
        return not self.unsent
