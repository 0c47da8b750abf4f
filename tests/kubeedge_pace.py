"""The times of KubeEdge, at the pace of a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Seconds as recorded, times how long a second of theirs is to take.

    Args:
        second: of KubeEdge, in ours.
        stalls: seconds for which the machine may stand still before anybody is given up.
    """

    second: float = 0.06
    stalls: float = 0.0

    @property
    def keepalive(self) -> float:
        return 15 * self.second

    @property
    def silence(self) -> float:
        return 30 * self.second + self.stalls

    @property
    def resend(self) -> float:
        return 5 * self.second

    @property
    def registration(self) -> float:
        return 10 * self.second

    @property
    def refusal(self) -> float:
        return 1 * self.second

    @property
    def call(self) -> float:
        return 60 * self.second + self.stalls


# Sent at 0, 5, 10, 15 and 20 s, given up at 25 s (captures, point 11).
RESENDS = 4
