"""Requests that the demo makes with curl, and what an answer of the lab's application tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from edgemesh.lab.demo.stage import Caller, Stage
from edgemesh.lab.state import Pod

_SHOWN = (
    "%{http_code}",
    "%{num_connects}",
    "%{time_total}",
    "%header{x-version}",
    "%header{x-pod}",
    "%header{x-edgemesh-reason}",
    "%header{retry-after}",
)


class Answer(NamedTuple):
    """One answer.

    Args:
        status: of it.
        new_connections: that curl opened for it.
        seconds: that it took.
        version, pod: of the application that answered, "" when it did not.
        reason: why edgemesh answered itself, "" when it did not.
        retry_after: seconds as text, "" when nothing is said.
    """

    status: int
    new_connections: int
    seconds: float
    version: str
    pod: str
    reason: str
    retry_after: str


async def ask(stage: Stage, caller: Caller, *arguments: str) -> list[Answer]:
    """Make requests on as few connections as curl needs; it knows ``http://host/[1-30]``.

    Raises:
        StepFailedError: curl got no answer.
    """
    shown = ["-o", "/dev/null", "-w", "|".join(_SHOWN) + "\n"]
    text = await stage.run(caller, ["curl", "-sS", *shown, *arguments])
    return [_answer(line) for line in text.splitlines()]


def _answer(line: str) -> Answer:
    status, connections, seconds, *words = line.split("|")
    return Answer(int(status), int(connections), float(seconds), *words)


def tally(answers: Iterable[Answer]) -> str:
    """``10 times 200 from v1 (fkt28); 20 times 429, quota``: pods by the end of their name."""
    counts = Counter(
        f"{one.status} from {one.version} ({one.pod.rpartition('-')[2]})"
        if one.pod
        else f"{one.status}, {one.reason or 'no reason'}"
        for one in answers
    )
    return "; ".join(f"{count} times {what}" for what, count in sorted(counts.items()))


async def control(stage: Stage, pod: Pod, query: str = "") -> str:
    """Tell a pod how to answer from now on, well without a query; return the command."""
    command = ["curl", "-sS", "-X", "PUT", f"http://127.0.0.1:8080/control{query}"]
    await stage.run(stage.caller(pod.key.name), command)
    return f"in {pod.key.name}: curl -X PUT {command[-1]}"
