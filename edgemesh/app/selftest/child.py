"""A process of the self-test: a SelfTestOrder from standard input, SelfTestResults back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from edgemesh.app.selftest.order import SelfTestOrder, SelfTestResult, read_order
from edgemesh.app.selftest.problem import NotWorkingError

# Each has `attempt`. They are imported when they are needed: to import the data plane takes longer
# than to try what has nothing to do with it.
_TRIALS: Final = {
    "connect": "connect",
    "sockops": "failures",
    "gate": "gate",
    "observed_gate": "observed",
}


def main() -> None:
    """Do what standard input says."""
    order = read_order(sys.stdin.buffer.read())
    if order.cgroup:
        Path(order.cgroup, "cgroup.procs").write_text(str(os.getpid()))
    for group in order.groups:
        result = SelfTestResult(group, _problem(group, order))
        # At once: should the next trial never end, this one has.
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


def _problem(group: str, order: SelfTestOrder) -> str:
    """What is wrong with a group, "" for nothing."""
    trial = import_module(f"edgemesh.app.selftest.{_TRIALS[group]}")
    problems: list[str] = []
    # What fails within a nursery comes in a group.
    try:
        trial.attempt(order)
    except* NotWorkingError as failed:
        problems += map(str, _leaves(failed))
    except* OSError as failed:
        problems += [f"in the self-test: {error}" for error in _leaves(failed)]
    return "; ".join(problems[:1])


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    main()
