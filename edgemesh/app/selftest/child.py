"""The process of the self-test: a SelfTestOrder from standard input, a SelfTestResult back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from edgemesh.app.selftest.connect import try_connect
from edgemesh.app.selftest.gate import try_gate
from edgemesh.app.selftest.order import SelfTestOrder, SelfTestResult, read_order
from edgemesh.app.selftest.problem import NotWorkingError
from edgemesh.model.settings import LogSettings
from edgemesh.observe.log import configure_logging

_TRIALS: Mapping[str, Callable[[SelfTestOrder], None]] = {"connect": try_connect, "gate": try_gate}


def main() -> None:
    """Do what standard input says."""
    # Standard output is for the result.
    configure_logging(LogSettings())
    order = read_order(sys.stdin.buffer.read())
    if order.cgroup:
        Path(order.cgroup, "cgroup.procs").write_text(str(os.getpid()))
    groups = {group: _try(_TRIALS[group], order) for group in order.groups if group in _TRIALS}
    sys.stdout.buffer.write(msgspec.json.encode(SelfTestResult(groups)))


def _try(trial: Callable[[SelfTestOrder], None], order: SelfTestOrder) -> str:
    problems: list[str] = []
    # What fails within a nursery comes in a group.
    try:
        trial(order)
    except* NotWorkingError as group:
        problems += map(str, _leaves(group))
    except* OSError as group:
        problems += [f"in the self-test: {error}" for error in _leaves(group)]
    return "; ".join(problems[:1])


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    main()
