"""What a scenario is made of, and how a person sees it: steps, each asked, answered and checked."""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgemesh.lab.demo.stage import Stage

_WIDTH = 100
_INDENT = 4
_LABEL = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step that went as promised has shown.

    Args:
        asked: the call, as one would type it.
        caller: who made it.
        answered: what came back.
        over: the endpoint that it went over, "" where there is none.
        expected: what should come back, "" where the title says it.
        table: more of what came back, in lines that stay as they are.
    """

    asked: str
    caller: str
    answered: str
    over: str = ""
    expected: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One promise.

    Args:
        title: what is shown.
        manifests: what it needs, applied before it.
        play: does it; raises StepFailedError when the answer is not as promised.
        without: what earlier steps applied and this one is not to have, deleted before it.
    """

    title: str
    manifests: tuple[str, ...]
    play: Callable[[Stage], Awaitable[Outcome]]
    without: tuple[str, ...] = ()


def heading(number: int, step: Step) -> str:
    """The line above a step."""
    files = ", ".join(f"{name}.yaml" for name in step.manifests)
    title = f"{number:>2}  {step.title}"
    return f"{title}{files:>{max(_WIDTH - len(title), len(files) + 2)}}" if files else title


def body(outcome: Outcome) -> str:
    """The lines below it."""
    rows = {
        "asked": outcome.asked,
        "by": outcome.caller,
        "expected": outcome.expected,
        "answered": outcome.answered,
        "over": outcome.over,
    }
    lines = [_row(label, text) for label, text in rows.items() if text]
    if outcome.table:
        lines.append(textwrap.indent(outcome.table, " " * _INDENT))
    return "\n".join(lines)


def _row(label: str, text: str) -> str:
    start = " " * _INDENT + label.ljust(_LABEL)
    lines = textwrap.wrap(text, _WIDTH - len(start), break_on_hyphens=False) or [""]
    return "\n".join([start + lines[0], *(" " * len(start) + line for line in lines[1:])])
