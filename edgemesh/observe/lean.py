"""structlog without what only consoles need.

Where rich is installed, structlog imports it to colour tracebacks: 4 MiB that an agent, which logs
JSON, would keep for nothing.
"""

from __future__ import annotations

import sys

_UNKNOWN = object()
_before = sys.modules.get("rich", _UNKNOWN)
# What is None there cannot be imported (docs.python.org/3/reference/import.html#the-module-cache).
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _before is _UNKNOWN:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _before  # type: ignore[assignment]

__all__ = ["structlog"]
