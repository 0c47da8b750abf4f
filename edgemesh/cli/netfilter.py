"""``edgemesh netfilter``: the rules that intercept calls to Services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import trio
from cyclopts import App, Parameter

from edgemesh.app.ask import ask_agent
from edgemesh.app.config import load_settings
from edgemesh.kernel.netfilter import Installed, Interception, open_interception
from edgemesh.kernel.preflight import Finding, check_interception
from edgemesh.meta.client import AgentGoneError, connect
from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.model.services import Snapshot, Source
from edgemesh.model.settings import Settings
from edgemesh.model.status import AgentStatus
from edgemesh.policy.addresses import service_addresses
from edgemesh.wire.message import Operation

Backend = Literal["nft", "iptables"]
_BACKENDS: tuple[Backend, ...] = ("nft", "iptables")
_AS_NEEDED = (
    "rules are installed only while they are needed; without them calls are balanced in bpf.cgroup,"
    " and nobody else's are intercepted"
)
_MARK = {"ok": "ok", "warning": "warning", "missing": "MISSING"}

app = App(name="netfilter", help="The rules that lead calls to Services to the agent.")

AsJson = Annotated[bool, Parameter(name="--json", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class RuleOptions:
    """Which rules; the configuration decides what is not given.

    Args:
        backend: what holds the rules.
        mode: how packets are led to the agent.
        family: which packets.
        config: TOML file; default /etc/edgemesh/edgemesh.toml where it exists.
    """

    backend: Backend | None = None
    mode: Literal["tproxy", "redirect"] | None = None
    family: Literal["ipv4", "ipv6", "both"] | None = None
    config: Path | None = None

    def settings(self) -> Settings:
        """The configuration with these flags over it."""
        flags = {"backend": self.backend, "mode": self.mode, "family": self.family}
        return load_settings(self.config, {"netfilter": flags})


_NO_OPTIONS = RuleOptions()


@app.command
async def install(*, options: RuleOptions = _NO_OPTIONS, as_json: AsJson = False) -> None:
    """Install the rules, to stay until they are removed.

    Addresses are those that the agent knows now, when one answers; run it again to take in
    later ones. An agent that keeps its own rules (netfilter.enabled) needs none of this.

    Args:
        options: which rules.
        as_json: as one JSON object.
    """
    settings = options.settings()
    known = await _known(settings)
    described, count = await trio.to_thread.run_sync(_install, settings, known)
    if as_json:
        _print_json({**_facts(settings, described, count), "agent": known is not None})
        return
    print(f"installed: {_line(settings, described)}, {count} addresses")
    if known is None:
        print(
            f"no agent answers on {settings.socket_path}, so the addresses are those that were"
            " there before; run this again when one does"
        )


@app.command
async def remove(*, options: RuleOptions = _NO_OPTIONS, as_json: AsJson = False) -> None:
    """Remove the rules, of both backends unless one is named, and nothing else.

    Args:
        options: which rules.
        as_json: as one JSON object.
    """
    removed = await trio.to_thread.run_sync(_remove, options.settings(), options.backend)
    if as_json:
        _print_json({"removed": removed})
    else:
        print(f"removed: {', '.join(removed)}" if removed else "nothing was installed")


@app.command
async def show(*, options: RuleOptions = _NO_OPTIONS, as_json: AsJson = False) -> None:
    """Show what is installed: the rules as the kernel has them, and how many addresses.

    Args:
        options: which rules; without a backend, those of both.
        as_json: as one JSON array.
    """
    found = await trio.to_thread.run_sync(_look, options.settings(), options.backend)
    if as_json:
        _print_json([_facts(*each) for each in found])
        return
    if not found:
        print("nothing is installed")
    for settings, described, count in found:
        rules = settings.netfilter
        print(f"{_line(settings, described)}, {count} addresses")
        print(
            f"marks {rules.divert_mark:#x} diverted, {rules.own_mark:#x} the agent's own,"
            f" mask {rules.mark_mask:#x}; route table {rules.route_table}"
        )
        print("\n".join(described.rules))


@app.command
async def check(*, options: RuleOptions = _NO_OPTIONS, as_json: AsJson = False) -> int:
    """Look for what is missing or in the way; the exit code is 1 when that prevents interception.

    Args:
        options: which rules are meant.
        as_json: as one JSON array.
    """
    settings = options.settings()
    findings = await trio.to_thread.run_sync(check_interception, settings.netfilter)
    if settings.netfilter.install == "needed":
        findings.append(Finding("install", "ok", _AS_NEEDED))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{_MARK[finding.state]:<9}{finding.what}")
            if finding.remedy:
                print(f"{'':<9}  -> {finding.remedy}")
    return 1 if any(finding.state == "missing" for finding in findings) else 0


async def _known(settings: Settings) -> Snapshot | None:
    """What the running agent knows; None when none answers.

    Raises:
        OperatorError: it keeps rules of its own.
    """
    path = settings.socket_path
    try:
        status = await ask_agent(path, settings.meta, "null/status", AgentStatus)
        interception = status.interception
        if interception.installed or not interception.needed:
            raise OperatorError(
                f"the running agent (pid {status.pid}) keeps its own rules",
                "end it first, or set netfilter.enabled = false and start it again",
            )
        async with connect(path, settings.meta) as client:
            bodies = [
                body
                for kind in ("namespace", "pod", "service")
                for body in await client.request(Operation.QUERY, f"all/{kind}", {})
            ]
    except AgentGoneError:
        return None
    intercepts = settings.proxy.intercept_default == "enabled"
    source = Source(settings.proxy.source)
    builder = SnapshotBuilder(settings.node, source, intercepts=intercepts)
    builder.apply(Change(ChangeType.INSERT, _object(body)) for body in bodies)
    return builder.build(0)


def _object(body: Any) -> KubeObject:
    metadata = body["metadata"]
    key = ObjectKey(body["kind"], metadata.get("namespace", ""), metadata["name"])
    return KubeObject(key, metadata.get("uid", ""), 0, metadata.get("labels") or {}, body)


def _install(settings: Settings, snapshot: Snapshot | None) -> tuple[Installed, int]:
    with closing(
        open_interception(settings.netfilter, settings.proxy, owned=False)
    ) as interception:
        interception.install()
        standing = interception.addresses()
        if snapshot is not None:
            wanted = service_addresses(snapshot)
            callers = snapshot.callers.listed
            interception.update(wanted - standing, standing - wanted, callers=callers)
        described = interception.describe()
        assert described is not None
        return described, len(interception.addresses())


def _remove(settings: Settings, backend: Backend | None) -> list[str]:
    removed: list[str] = []
    for chosen, interception in _open_each(settings, backend):
        if interception.describe() is not None:
            removed.append(chosen.netfilter.backend)
        interception.remove()
    return removed


def _look(settings: Settings, backend: Backend | None) -> list[tuple[Settings, Installed, int]]:
    return [
        (chosen, described, len(interception.addresses()))
        for chosen, interception in _open_each(settings, backend)
        if (described := interception.describe()) is not None
    ]


def _open_each(
    settings: Settings, backend: Backend | None
) -> Iterator[tuple[Settings, Interception]]:
    """The one that was named, or those that this host has the tools for, with their settings."""
    refusal: OperatorError | None = None
    opened = False
    for name in (backend,) if backend else _BACKENDS:
        chosen = replace(settings, netfilter=replace(settings.netfilter, backend=name))
        try:
            interception = open_interception(chosen.netfilter, chosen.proxy, owned=False)
        except OperatorError as error:
            refusal = refusal or error
            continue
        opened = True
        with closing(interception):
            yield chosen, interception
    if refusal is not None and not opened:
        raise refusal


def _line(settings: Settings, described: Installed) -> str:
    owner = "goes with its agent" if described.owned else "stays until removed"
    backend = settings.netfilter.backend
    return f"{backend} {described.mode}, {described.family}, fail {described.fail}, {owner}"


def _facts(settings: Settings, described: Installed, addresses: int) -> dict[str, object]:
    rules = settings.netfilter
    return {
        "backend": rules.backend,
        "mode": described.mode,
        "family": described.family,
        "fail": described.fail,
        "owned": described.owned,
        "divert_mark": rules.divert_mark,
        "own_mark": rules.own_mark,
        "mark_mask": rules.mark_mask,
        "route_table": rules.route_table,
        "addresses": addresses,
        "rules": described.rules,
    }


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())
