"""Values as they may stand in a message to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LONGEST = 80


def quote(value: Any) -> str:
    """A value on one line, and short; what may be large or deep is only named."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value[:_LONGEST] if isinstance(value, str) else value, ensure_ascii=False)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 4]} ..."
    # A terminal obeys control characters, and they come from files that others wrote.
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
