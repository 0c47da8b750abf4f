"""Prerequisites as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from edgemesh.app.prerequisites import Check, State

_WORD = {State.MET: "ok", State.LACKING: "lacking", State.MISSING: "MISSING"}
# ECMA-48 colours: green, yellow, red.
_COLOUR = {State.MET: "\x1b[32m", State.LACKING: "\x1b[33m", State.MISSING: "\x1b[31m"}
_PLAIN = "\x1b[0m"
_WIDTH = 9


def doctor_page(checks: Sequence[Check], *, colours: bool) -> str:
    """The checks by group, in the groups' first order, and a verdict; no end of line at its end.

    Args:
        checks: at least one.
        colours: whether a terminal reads it.
    """
    order = {check.group: place for place, check in reversed(list(enumerate(checks)))}
    lines: list[str] = []
    for group, members in groupby(
        sorted(checks, key=lambda check: order[check.group]), lambda check: check.group
    ):
        lines.append(group)
        for check in members:
            word = f"{_WORD[check.state]:<{_WIDTH}}"
            if colours:
                word = f"{_COLOUR[check.state]}{word}{_PLAIN}"
            lines.append(f"  {word}{check.what}")
            if check.remedy:
                lines.append(f"  {'':<{_WIDTH}}  -> {check.remedy}")
    return "\n".join([*lines, verdict(checks)])


def verdict(checks: Sequence[Check]) -> str:
    """One line that says whether the agent can run here."""
    missing = sum(check.state is State.MISSING for check in checks)
    lacking = sum(check.state is State.LACKING for check in checks)
    if missing:
        return f"edgemesh cannot run as configured: {missing} missing"
    if lacking:
        return f"edgemesh can run; {lacking} lacking that it can do without"
    return "edgemesh can run; nothing is missing"
