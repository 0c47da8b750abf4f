"""What became of calls, and whether that keeps what the mesh promises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

KINDS = ("GET", "POST", "TCP", "UDP")


class Call(NamedTuple):
    """One call.

    Args:
        kind: GET, POST, TCP or UDP.
        name: an id of its own.
        began, ended: on the machine's monotonic clock.
        outcome: ``answer``, ``error``, ``lost`` (datagrams), ``silence`` or ``wrong``.
        detail: what the caller was told.
    """

    kind: str
    name: str
    began: float
    ended: float
    outcome: str
    detail: str


class Disturbance(NamedTuple):
    """A fault.

    Args:
        name: what was done.
        began, ended: on the machine's monotonic clock.
        silences: whether the callers' own agent could not say anything meanwhile.
    """

    name: str
    began: float
    ended: float
    silences: bool


def read_calls(path: Path) -> list[Call]:
    """Those that have ended."""
    if not path.exists():
        return []
    return [Call(*json.loads(line)) for line in path.read_text().splitlines()]


def read_executions(path: Path) -> Counter[str]:
    """How often the application carried out each call."""
    return Counter(line.partition(" ")[2] for line in path.read_text().splitlines())


def wrong_answers(calls: Iterable[Call]) -> list[Call]:
    """Calls that seemed to be answered, and were not."""
    return [call for call in calls if call.outcome == "wrong"]


def unanswered(calls: Iterable[Call], disturbances: Collection[Disturbance]) -> list[Call]:
    """Calls that nobody said anything about by their deadline, although somebody could."""
    excuses = [disturbance for disturbance in disturbances if disturbance.silences]
    return [
        call
        for call in calls
        if call.outcome == "silence"
        and not any(call.began < excuse.ended and excuse.began < call.ended for excuse in excuses)
    ]


def repeated(executions: Counter[str], *, safe: bool) -> dict[str, int]:
    """Calls that were carried out more than once.

    Args:
        executions: how often each was.
        safe: those that HTTP allows to be repeated (RFC 9110 section 9.2.2), or the others.
    """
    return {
        name: times
        for name, times in executions.items()
        if times > 1 and name.startswith("GET-") == safe
    }


def unfounded(calls: Iterable[Call], executions: Counter[str]) -> list[Call]:
    """Calls that were answered without being carried out."""
    return [call for call in calls if call.outcome == "answer" and call.name not in executions]


def summary(calls: Collection[Call]) -> str:
    """For people."""
    lines = []
    for kind in KINDS:
        own = [call for call in calls if call.kind == kind]
        outcomes = Counter(call.outcome for call in own)
        longest = max((call.ended - call.began for call in own), default=0.0)
        shown = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items()))
        lines.append(f"{kind:5}{len(own):7} calls: {shown}; longest {longest:.1f} s")
    told = Counter((call.kind, call.detail) for call in calls if call.outcome == "error")
    lines += [f"  {count:6} {kind:5}{detail}" for (kind, detail), count in told.most_common(20)]
    return "\n".join(lines)
