"""What a recogniser can say about the first bytes of a connection."""

from __future__ import annotations

from enum import Enum, auto


class Recognition(Enum):
    """``PENDING``: these bytes may be the start of one. The other two are final."""

    NO = auto()
    PENDING = auto()
    YES = auto()
