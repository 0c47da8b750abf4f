"""The numbers of RFC 9113, and the two ways in which a peer can be at fault.

Frame types and flags are plain integers: they are compared for every frame, and members of an
Enum cost twice as much to look up.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

# Section 6.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

FRAME_HEADER_BYTES: Final = 9
# Section 6.5.2: what every peer has to take, and all that we ever send or take.
MAX_FRAME_BYTES: Final = 16384
LARGEST_FRAME_BYTES: Final = 2**24 - 1
DEFAULT_WINDOW: Final = 65535
LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_STREAM_ID: Final = 2**31 - 1


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class ErrorCode(IntEnum):
    """Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


_CODES = frozenset(ErrorCode)


def error_name(code: int) -> str:
    """A code for people, also one that is not in the RFC."""
    return ErrorCode(code).name if code in _CODES else str(code)


class ConnectionFault(Exception):  # noqa: N818 - the RFC's "connection error" is not an Error here
    """Section 5.4.1: what the peer did ends the whole connection.

    Args:
        code: for GOAWAY.
        reason: for people.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):  # noqa: N818 - see above
    """Section 5.4.2: what the peer did ends one stream; arguments as above."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
