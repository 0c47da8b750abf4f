"""What makes a new Message this one: its id and the time."""

from __future__ import annotations

import time
import uuid

from edgemesh.wire.message import Stamp


def new_stamp() -> Stamp:
    """A fresh id, now."""
    return Stamp(str(uuid.uuid4()), time.time_ns() // 1_000_000)
