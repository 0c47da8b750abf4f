"""What a server means by an answer that is not what was asked for."""

from __future__ import annotations

from edgemesh.policy.reflector.course import Ending, Way

_GONE = 410
# Refusals that asking otherwise may help against. A credential that is refused (401, 403) and a
# server that has too much to do (429) are not among them.
_UNSUITABLE = frozenset({400, 405, 406, 422})


def ending_of(way: Way, code: int) -> Ending:
    """What an HTTP status other than 200, or the code of an ERROR event, comes to.

    Args:
        way: that was asked in.
        code: of HTTP, or of the event's Status; 0 when it tells none.
    """
    if code == 404:
        return Ending.MISSING
    if code == _GONE:
        return Ending.EXPIRED
    if code in _UNSUITABLE and way is not Way.LIST:
        # 422: no streams here. A revision that cannot be read is refused with 400, or with 500.
        return Ending.UNOFFERED if way is Way.STREAM else Ending.EXPIRED
    return Ending.FAILED
