"""Where a scenario plays: a lab, commands on its nodes and in its pods, and the agents' reports."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec
import trio

from edgemesh.lab import rollout
from edgemesh.lab.patience import patient
from edgemesh.lab.state import Home, Pod, State, load
from edgemesh.lab.targets import find_pod, find_target
from edgemesh.model.flows import FlowReport
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import ManifestObject, read_manifest

_COMMAND_SECONDS = 60.0
_REPORT_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.02


class StepFailedError(Exception):
    """An answer was not the one that a scenario promises."""


def require(holds: bool, otherwise: str) -> None:
    """Check what a step promises.

    Raises:
        StepFailedError: it does not hold, saying ``otherwise``.
    """
    if not holds:
        raise StepFailedError(otherwise)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call.

    Args:
        word: as ``edgemesh lab exec`` takes it.
        node: the node whose agent intercepts the call.
        description: for people.
    """

    word: str
    node: str
    description: str


class Stage:
    """A lab that is up, as a scenario uses it."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def state(self) -> State:
        """The lab as it is now."""
        return load(self.home)

    async def apply(self, *manifests: str) -> None:
        """Apply example manifests and policies, named without their suffix."""
        await rollout.apply(self.home, [one for name in manifests for one in _manifest(name)])

    async def delete(self, *manifests: str) -> None:
        """Delete what example manifests and policies name."""
        keys = [one.key for name in manifests for one in _manifest(name)]
        await rollout.delete(self.home, keys)

    def caller(self, word: str) -> Caller:
        """The node or pod that a word means, as one who calls."""
        for node in self.state.nodes:
            if node.name == word:
                return Caller(word, word, f"node {word} ({node.addresses[0]}) itself")
        pod = find_pod(self.state, word)
        where = f"pod {pod.key.namespace}/{pod.key.name} ({pod.addresses[0]}) on {pod.node}"
        return Caller(word, pod.node, where)

    def pods_of(self, deployment: str) -> dict[str, Pod]:
        """The pods of a Deployment by their names."""
        return {pod.key.name: pod for pod in self.state.pods if pod.owner.name == deployment}

    async def run(self, caller: Caller, argv: Sequence[str]) -> str:
        """Run a command where the caller is; return what it printed.

        Raises:
            StepFailedError: it failed or took too long.
        """
        target = find_target(self.home, self.state, caller.word)
        seconds = patient(_COMMAND_SECONDS)
        with trio.move_on_after(seconds):
            done = await trio.run_process(
                target.command(argv),
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=dict(target.environment),
            )
            if done.returncode != 0:
                told = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                raise StepFailedError(
                    f"{shlex.join(argv)} ended with {done.returncode}: {told or 'no message'}"
                )
            return done.stdout.decode()
        raise StepFailedError(f"{shlex.join(argv)} was not done after {seconds:g} s")

    async def call(self, caller: Caller, kind: str, host: str, port: int) -> Any:
        """Make one of the calls of ``edgemesh.lab.demo.calls``; return its answer."""
        argv = [sys.executable, "-m", "edgemesh.lab.demo.calls", kind, host, str(port)]
        return json.loads(await self.run(caller, argv))

    async def flow(self, caller: Caller, service: str, port: int) -> FlowReport:
        """The report of the flow that a caller began at a port of its own; waits for it.

        Raises:
            StepFailedError: the agent does not report it in time.
        """
        log = self.home.agent_log(caller.node)
        with trio.move_on_after(patient(_REPORT_SECONDS)):
            while True:
                for line in reversed(log.read_bytes().splitlines()):
                    if b'"event":"flow"' in line:
                        report = msgspec.json.decode(line, type=FlowReport)
                        mine = report.client.rpartition(":")[2] == str(port)
                        if mine and report.service == service:
                            return report
                await trio.sleep(_LOOK_AGAIN_SECONDS)
        raise StepFailedError(
            f"the agent of {caller.node} reports no flow to {service} from port {port}"
        )


def _manifest(name: str) -> list[ManifestObject]:
    folders = [files("edgemesh.lab") / folder for folder in ("manifests", "policies")]
    (file,) = (one for folder in folders if (one := folder / f"{name}.yaml").is_file())
    return read_manifest(file.read_bytes(), f"{name}.yaml", ManifestLimits())
