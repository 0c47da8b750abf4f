"""The body of a request, kept as long as it may have to be sent again."""

from __future__ import annotations

from edgemesh.wire.http2.heads import Trailers
from edgemesh.wire.http2.stream import Stream


class RequestBody:
    """What has come of it.

    Attributes:
        is_whole: nothing of it is missing here.
        trailers: None before they come, and where there are none.
    """

    __slots__ = ("_client", "_limit", "_parts", "_sent", "_size", "is_whole", "trailers")

    def __init__(self, client: Stream, limit: int) -> None:
        """Begin with nothing.

        Args:
            client: the stream that it comes on.
            limit: bytes that are kept after they have been sent.
        """
        self._client = client
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        # How much of it was given to a stream before.
        self._sent = 0
        self.is_whole = True
        self.trailers: Trailers | None = None

    def take(self, payload: bytes) -> None:
        """Keep a part."""
        if payload:
            self._parts.append(payload)
            self._size += len(payload)

    def send_part(self, stream: Stream, payload: bytes, ended: bool) -> None:
        """Send a part that was just taken; what is too long is not kept any more."""
        self._sent = self._size
        if self._size > self._limit:
            self.forget()
        stream.send_data(payload, ended)

    def send_all(self, stream: Stream) -> None:
        """Send what has come so far, after the head."""
        client = self._client
        if self._sent:
            client.take_back(self._sent)
        self._sent = self._size
        trailers = self.trailers
        parts = self._parts
        ended = client.remote_ended and trailers is None
        if ended and not parts:
            stream.send_data(b"", True)
        last = len(parts) - 1
        for number, payload in enumerate(parts):
            stream.send_data(payload, ended and number == last)
        if trailers is not None:
            stream.send_trailers(trailers.block)

    def forget(self) -> None:
        """Keep nothing from now on."""
        self._parts = []
        self.is_whole = False
