"""``edgemesh doctor``: what the agent needs here, and what mends it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import trio
from cyclopts import Parameter

from edgemesh.app.ask import ask_agent
from edgemesh.app.bpf_prerequisites import check_bpf
from edgemesh.app.config import load_settings
from edgemesh.app.prerequisites import Check, State, check_host, check_ports, check_rules
from edgemesh.cli.doctor_page import doctor_page
from edgemesh.cli.status_page import not_needed
from edgemesh.meta.client import AgentGoneError
from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.settings import Settings
from edgemesh.model.status import AgentStatus, InterceptionStatus
from edgemesh.policy.paths import AVAILABLE


async def doctor(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    config: Path | None = None,
) -> int:
    """Look whether everything that the agent needs is here; change nothing.

    The exit code is 1 when something is missing that it cannot do without.

    Args:
        as_json: print the checks as a JSON array.
        config: the agent's configuration file.
    """
    checks = await examine(load_settings(config))
    if as_json:
        print(msgspec.json.encode(checks).decode())
    else:
        print(doctor_page(checks, colours=sys.stdout.isatty()))
    return 1 if any(check.state is State.MISSING for check in checks) else 0


async def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which they are shown."""
    agent, agent_pid = await _check_agent(settings)

    def look() -> list[Check]:
        return [
            *check_host(settings),
            *check_bpf(settings.bpf),
            *check_rules(settings),
            *check_ports(settings, agent_pid),
            *_check_identity(settings),
            *agent,
        ]

    return await trio.to_thread.run_sync(look)


async def _check_agent(settings: Settings) -> tuple[list[Check], int | None]:
    path = settings.socket_path
    try:
        status = await ask_agent(path, settings.meta, "null/status", AgentStatus)
    except AgentGoneError:
        return [Check("agent", State.MET, f"none answers on {path}: one can be started")], None
    except OperatorError as error:
        return [Check("agent", State.MISSING, error.problem, error.remedy)], None
    answers = Check("agent", State.MET, f"answers on {path}, pid {status.pid}")
    paths = [_check_path(*found) for found in status.paths.items() if settings.bpf.enabled]
    need = _check_need(status.interception)
    sources = [*_check_cloud(status.cloud), *check_kubernetes(status.kubernetes)]
    return [answers, *need, *paths, *sources], status.pid


def _check_identity(settings: Settings) -> list[Check]:
    if not settings.bus.cloud:
        return []
    # Reading certificates costs time that a node which stands alone need not spend.
    from edgemesh.app.cloud_prerequisites import check_identity  # noqa: PLC0415

    return [check_identity(settings)]


def _check_cloud(cloud: EdgehubStatus | None) -> list[Check]:
    if cloud is None:
        return []
    problems = [Check("cloud", State.LACKING, problem) for problem in cloud.problems()]
    if not cloud.connected:
        return problems
    peer = f"{cloud.address} ({cloud.peer})"
    connected = Check("cloud", State.MET, f"connected to {peer}, revision {cloud.revision}")
    return [connected, *problems]


def check_kubernetes(kubernetes: KubernetesStatus | None) -> list[Check]:
    """Whether the API server is reached, and everything of it is here."""
    if kubernetes is None:
        return []
    problems = [Check("kubernetes", State.LACKING, each) for each in kubernetes.problems()]
    if not kubernetes.reached:
        return problems
    synced = sum(kind.synced for kind in kubernetes.kinds)
    what = f"{kubernetes.server} answers, {synced} of {len(kubernetes.kinds)} kinds synced"
    return [Check("kubernetes", State.MET, what), *problems]


def _check_need(interception: InterceptionStatus) -> list[Check]:
    """What an operator might miss who looks for rules."""
    if not interception.enabled or interception.installed or interception.needed:
        return []
    return [Check("agent", State.MET, not_needed(interception))]


def _check_path(path: str, state: str) -> Check:
    if state.startswith(AVAILABLE):
        return Check("agent", State.MET, f"path {path}: {state}")
    remedy = "see the checks of bpf, and the agent's log"
    return Check("agent", State.LACKING, f"path {path}: {state}", remedy)
