"""What the hub refuses, by names that logs, metrics and people share."""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import StrEnum
from typing import Final

import trio

from edgemesh.observe.log import get_logger

_SILENT_SECONDS: Final = 10.0
_REMEMBERED: Final = 1024

_log = get_logger("cloudhub")


class Reason(StrEnum):
    """Why something of a node was refused, besides what it may not do (policy/bus)."""

    TOO_MANY = "too-many-connections"
    NO_TLS = "no-tls"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    CERTIFICATE = "certificate"
    REVOKED = "revoked"
    MALFORMED_UPGRADE = "malformed-upgrade"
    NOT_A_NODE = "not-a-node"
    FOREIGN_ORIGIN = "foreign-origin"
    OTHER_NODE = "other-node"
    TOO_MANY_NODES = "too-many-nodes"
    NO_LINKS = "no-links"
    TOO_LARGE = "too-large"
    MALFORMED_FRAME = "malformed-frame"
    MALFORMED_MESSAGE = "malformed-message"
    UNEXPECTED_ANSWER = "unexpected-answer"
    REPLAYED = "replayed"
    INVALID = "invalid"
    SILENT = "silent"
    TAKES_NOTHING = "takes-nothing"
    ENROLMENT = "enrolment"
    MALFORMED_REQUEST = "malformed-request"


class Refusals:
    """Counts refusals, and writes each to the log; repeated ones of one peer as one line.

    Attributes:
        by_reason: all of them.
    """

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        # When a reason was last written about someone, and how often it came since.
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def count(self, reason: StrEnum, who: str, problem: str = "") -> None:
        """Count one.

        Args:
            reason: why, a word of a small set.
            who: the node, or the address where no node is known.
            problem: for people.
        """
        self.by_reason[reason.value] += 1
        now = trio.current_time()
        told_at, unsaid = self._told.pop((reason, who), (-_SILENT_SECONDS, 0))
        if now - told_at < _SILENT_SECONDS:
            self._told[reason, who] = (told_at, unsaid + 1)
            return
        self._told[reason, who] = (now, 0)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        repeated = {"repeated": unsaid} if unsaid else {}
        _log.warning("refused", reason=reason.value, peer=who, problem=problem, **repeated)
