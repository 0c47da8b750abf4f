"""How the end that wanted a stream is told of what became of the flow before it was taken."""

from __future__ import annotations

import errno

from edgemesh.model.flows import Ending, Refusal

# The endpoint has, or its callers have, all that they may have: nothing is wrong with it.
AT_A_LIMIT = errno.EBUSY
_LIMITS = frozenset(
    {
        Refusal.SERVER_QUOTA,
        Refusal.SERVER_OVERFLOW,
        Refusal.QUOTA,
        Refusal.OVERFLOW,
        Refusal.LIMIT,
    }
)


def problem_of(ending: Ending, reason: str) -> int:
    """The errno that connect() fails with at the other end.

    Args:
        ending: of the flow.
        reason: of that; a `Refusal` where it was refused.
    """
    if ending is Ending.REFUSED and reason in _LIMITS:
        return AT_A_LIMIT
    return errno.ETIMEDOUT if ending is Ending.CONNECT_TIMEOUT else errno.ECONNREFUSED
