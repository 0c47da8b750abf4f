"""Regular expressions of routes."""

from __future__ import annotations

import re
from collections.abc import Callable


def regex_matcher(pattern: str, *, ignore_case: bool) -> Callable[[str], bool] | None:
    """A function that tells whether a whole text matches; None when the pattern is unusable."""
    try:
        compiled = re.compile(pattern, re.ASCII | (re.IGNORECASE if ignore_case else 0))
    except re.error:
        return None
    return lambda text: compiled.fullmatch(text) is not None
