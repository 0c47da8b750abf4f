"""Why an edgemesh cloud ends the WebSocket of an edgemesh node; RFC 6455 section 7.4.

KubeEdge's ends know no close frames: they see the end of the connection alone.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Codes of close frames; those from 4000 on are ours."""

    GOING_AWAY = 1001  # this replica stops; another one, or this one later, takes the node
    MALFORMED = 1007  # a frame held no Message
    FORBIDDEN = 1008
    TOO_LARGE = 1009
    TOOK_OVER = 4001  # a newer connection of the same node is in its place
    REVOKED = 4003  # the node is shut out
    SILENT = 4008  # no keepalive came, or nothing was taken
    ANEW = 4010  # what the node would be sent next is forgotten; all is sent when it is back
