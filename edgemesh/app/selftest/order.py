"""What a process of the self-test is told, and what it answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import msgspec

from edgemesh.kernel.bpf.pins import CURRENT, Loaded
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.settings import ProxySettings

CHILD = (sys.executable, "-P", "-m", "edgemesh.app.selftest.child")
# Steps that may take as long as they may before what is tried as a whole has taken too long.
_SLOW_STEPS = 15


@dataclass(frozen=True, slots=True)
class SelfTestOrder:
    """What is to be tried.

    Args:
        bpf, proxy: settings of the agent.
        cgroup: where the child goes, so that programs that are attached above see its calls;
            "" for where it is.
        groups: those that are loaded, in the order in which they are tried.
    """

    bpf: BpfSettings
    proxy: ProxySettings
    cgroup: str
    groups: tuple[str, ...]

    @property
    def loaded(self) -> Loaded:
        """Where they are pinned."""
        return Loaded(self.bpf.directory / CURRENT, dict.fromkeys(self.groups, ""))

    @property
    def patience_seconds(self) -> float:
        """How long one step may take: longer where all of it is known to take long."""
        return self.bpf.self_test_seconds / _SLOW_STEPS


def read_order(encoded: bytes) -> SelfTestOrder:
    """What the child is told.

    Args:
        encoded: JSON, with paths as text.
    """
    return msgspec.json.decode(encoded, type=SelfTestOrder, dec_hook=lambda kind, text: kind(text))


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What has come of one group: a line of the child's output, as soon as it is known.

    Args:
        group: that was tried.
        problem: "" when it works, else in one sentence why not.
    """

    group: str
    problem: str
