"""Reading SETTINGS (RFC 9113 section 6.5): what the peer asks of us."""

from __future__ import annotations

from struct import Struct

from edgemesh.wire.http2.codes import (
    DEFAULT_WINDOW,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    MAX_FRAME_BYTES,
    ConnectionFault,
    ErrorCode,
    Setting,
)

_DEFAULT_TABLE_BYTES = 4096
# Section 6.5.2: until the peer says otherwise there is no limit; 100 is what it should not
# be below, and what we begin with before we have heard.
_STREAMS_BEFORE_SETTINGS = 100
_pairs = Struct(">HL").iter_unpack
_SETTING_BYTES = 6


class PeerSettings:
    """The values that hold now.

    Attributes:
        initial_window: of the streams that we send on.
        max_streams: that we may have open.
    """

    __slots__ = ("_push_allowed", "_table_shrunk", "_told", "initial_window", "max_streams")

    def __init__(self, *, push_allowed: bool) -> None:
        """Start with the defaults; only a client may say anything about push."""
        self._push_allowed = push_allowed
        self.initial_window = DEFAULT_WINDOW
        self.max_streams = _STREAMS_BEFORE_SETTINGS
        self._table_shrunk = self._told = False

    def update(self, payload: bytes) -> None:
        """Take over one SETTINGS frame.

        Raises:
            ConnectionFault: its length or one of its values is not allowed.
        """
        if len(payload) % _SETTING_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
        for name, value in _pairs(payload):
            self._set(name, value)

    def take_table_shrunk(self) -> bool:
        """Whether the peer's HPACK table has become smaller than the default; told once.

        Our next header block must then begin with saying that we go along (RFC 7541 section
        4.2); we say at once that we use none at all, so nothing is to be said later.
        """
        shrunk_now = self._table_shrunk and not self._told
        self._told |= shrunk_now
        return shrunk_now

    def _set(self, name: int, value: int) -> None:
        if name == Setting.INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise ConnectionFault(
                    ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is too large"
                )
            self.initial_window = value
        elif name == Setting.MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif name == Setting.HEADER_TABLE_SIZE:
            self._table_shrunk |= value < _DEFAULT_TABLE_BYTES
        elif name == Setting.ENABLE_PUSH:
            # Section 6.5.2: a server must not send 1, and nobody anything else than 0 and 1.
            if value > self._push_allowed:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is wrong")
        elif name == Setting.MAX_FRAME_SIZE and not (
            MAX_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES
        ):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is wrong")
