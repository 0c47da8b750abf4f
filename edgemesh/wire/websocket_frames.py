"""How large WebSocket messages say they will be: read from frame headers, ahead of the payload.

RFC 6455 section 5.2. A frame announces its length in its first bytes, up to 2^63; whoever reads
before asking has to hold what he was not willing to.
"""

from __future__ import annotations

_CONTINUATION = 0
_CLOSE = 8
_OPCODE = 0x0F
_MASKED = 0x80
_LENGTH = 0x7F
_LENGTH_OF_TWO = 126
_LENGTH_OF_EIGHT = 127
_MASK_BYTES = 4


class MessageTooLarge(ValueError):  # noqa: N818 - a fact about the peer, not about us
    """A frame announces more than is allowed.

    Args:
        announced: bytes of the whole message so far.
        limit: that are allowed.
    """

    def __init__(self, announced: int, limit: int) -> None:
        super().__init__(f"a message of {announced} bytes or more, allowed are {limit}")


class FrameLimit:
    """Follows the frames of one direction of a connection.

    Args:
        limit: bytes of one message, the payloads of its frames together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = bytearray()
        self._payload = 0
        self._message = 0

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the connection.

        Raises:
            MessageTooLarge: as soon as the header of the frame that breaks the limit is there.
        """
        position = 0
        while position < len(data):
            if self._payload:
                skipped = min(self._payload, len(data) - position)
                self._payload -= skipped
                position += skipped
                continue
            self._header.append(data[position])
            position += 1
            if len(self._header) == _header_bytes(self._header):
                self._begin_frame()
                self._header.clear()

    def _begin_frame(self) -> None:
        first, length = self._header[0], _payload_bytes(self._header)
        opcode = first & _OPCODE
        if opcode < _CLOSE:
            self._message = (self._message if opcode == _CONTINUATION else 0) + length
        announced = max(self._message, length)
        if announced > self._limit:
            raise MessageTooLarge(announced, self._limit)
        self._payload = length


def _header_bytes(header: bytearray) -> int:
    """How long a header is, as far as its bytes tell."""
    if len(header) < 2:
        return 2
    extended = {_LENGTH_OF_TWO: 2, _LENGTH_OF_EIGHT: 8}.get(header[1] & _LENGTH, 0)
    return 2 + extended + (_MASK_BYTES if header[1] & _MASKED else 0)


def _payload_bytes(header: bytearray) -> int:
    length = header[1] & _LENGTH
    if length == _LENGTH_OF_TWO:
        return int.from_bytes(header[2:4])
    if length == _LENGTH_OF_EIGHT:
        return int.from_bytes(header[2:10])
    return length
