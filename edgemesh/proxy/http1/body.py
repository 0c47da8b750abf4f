"""The body of a request on its way: where it ends, and what of it can be sent again."""

from __future__ import annotations

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import Framing, RequestHead

# What is left of a body that tells its end itself.
_CHUNKED = -1


class RequestBody:
    """One request's body after the other.

    Attributes:
        kept: what was taken of it so far, for another try; empty once `forget` was called.
        can_repeat: whether ``kept`` is all of it.
        is_complete: whether all of it was taken.
        is_unused: whether the last request had none, so that another without one needs no `begin`.
    """

    __slots__ = ("_left", "_scanner", "_settings", "can_repeat", "is_complete", "is_unused", "kept")

    def __init__(self, settings: HttpSettings) -> None:
        """Start without a body."""
        self._settings = settings
        self._left = 0
        self._scanner: ChunkScanner | None = None
        self.kept = b""
        self.can_repeat = True
        self.is_complete = True
        self.is_unused = True

    def begin(self, head: RequestHead) -> None:
        """Expect the body of another request."""
        self.kept = b""
        self.can_repeat = True
        self.is_unused = head.framing is Framing.NONE
        if self.is_unused:
            self.is_complete = True
            return
        self.is_complete = False
        if head.framing is Framing.LENGTH:
            self._left = head.content_length
            self._scanner = None
        else:
            self._left = _CHUNKED
            self._scanner = ChunkScanner(self._settings)

    def take(self, data: bytes) -> int:
        """Take what has come.

        Returns:
            How many bytes of it belong to the body; the rest is the next request's.

        Raises:
            MalformedBody: a chunk is not what it has to be.
        """
        count = len(data)
        if self._scanner is not None:
            end = self._scanner.feed(data, 0, count)
            if end >= 0:
                count = end
                self.is_complete = True
        elif count >= self._left:
            count = self._left
            self.is_complete = True
        else:
            self._left -= count
        if self.can_repeat:
            if len(self.kept) + count <= self._settings.retry_buffer_bytes:
                self.kept += data[:count]
            else:
                self.forget()
        return count

    def forget(self) -> None:
        """Keep nothing from now on: it is too much, or will not be sent again."""
        self.kept = b""
        self.can_repeat = False
