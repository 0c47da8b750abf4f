"""An agent's status as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.status import AgentStatus, InterceptionStatus

_LABEL_WIDTH = 14


def status_page(status: AgentStatus) -> str:
    """The page, without an end of line at its end."""
    compiled = " (compiled)" if status.compiled else ""
    headline = (
        f"edgemesh {status.version}{compiled} on {status.node}: "
        f"up {duration(status.uptime_seconds)}, pid {status.pid}, {size(status.memory_bytes)}"
    )
    return "\n".join(
        [headline, *(f"{label:<{_LABEL_WIDTH}}{text}" for label, text in _rows(status))]
    )


def duration(seconds: float) -> str:
    """The two largest units that matter: ``3 d 4 h``, ``12 min 5 s``, ``0 s``."""
    rest = int(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves 1 or more: ``45.2 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _rows(status: AgentStatus) -> Iterator[tuple[str, str]]:
    for kind, addresses in status.listeners.items():
        yield f"listens {kind}", ", ".join(addresses) or "nowhere"
    yield "interception", _interception(status.interception)
    store, snapshot = status.store, status.snapshot
    yield "store", f"{store.url}, revision {store.revision}, {store.objects} objects"
    known = f"{snapshot.services} services, {snapshot.endpoints} endpoints"
    yield "snapshot", f"revision {snapshot.revision}, {known}"
    flows = status.flows
    yield "flows", f"{flows.tcp_open} TCP and {flows.udp_open} UDP open, {flows.total} in all"
    if flows.refused:
        yield "  refused", _counts(flows.refused)
    if flows.by_ending:
        yield "  ended", _counts(flows.by_ending)
    if status.requests:
        yield "requests", f"{sum(status.requests.values())} in all: {_counts(status.requests)}"
    if status.dns:
        yield "dns", _counts(status.dns)
    if status.cloud is not None:
        yield "cloud", _cloud(status.cloud)
    if status.kubernetes is not None:
        yield from kubernetes_rows(status.kubernetes)
    for path, state in status.paths.items():
        yield f"path {path}", state
    for problem in status.problems:
        yield "PROBLEM", problem


def _interception(interception: InterceptionStatus) -> str:
    families = "IPv4 and IPv6" if interception.family == "both" else interception.family
    how = f"{interception.backend} {interception.mode}, {families}, fail {interception.fail}"
    if not interception.enabled:
        return "left to others (netfilter.enabled is false)"
    if not interception.installed:
        return f"NOT INSTALLED ({how})" if interception.needed else not_needed(interception)
    limited = f", {interception.endpoints} limited endpoints" if interception.endpoints else ""
    reasons = f"; {_reasons(interception)}" if interception.install == "needed" else ""
    return f"{how}, {interception.addresses} addresses{limited}{reasons}"


def not_needed(interception: InterceptionStatus) -> str:
    """Why no rules stand, where they are installed as needed."""
    balanced = interception.need.balanced
    return f"rules not needed: all {balanced} service ports are balanced when sockets connect"


def _reasons(interception: InterceptionStatus) -> str:
    if not interception.needed:
        return "no longer needed, but by what was diverted before"
    need = interception.need
    wanting = (
        (need.service_ports, "service ports"),
        (need.node_ports, "node ports"),
        (need.endpoints, "limited endpoints"),
    )
    return "needed by " + (
        ", ".join(f"{count} {what}" for count, what in wanting if count) or "what comes"
    )


def _cloud(cloud: EdgehubStatus) -> str:
    parts = [f"{cloud.address}{f' ({cloud.peer})' if cloud.peer else ''}"]
    state = "connected" if cloud.connected else "NOT CONNECTED"
    parts.append(f"{state} for {duration(cloud.seconds)}")
    if cloud.store:
        behind = "" if cloud.synced else f", {duration(cloud.unsynced_seconds)} behind"
        parts.append(f"revision {cloud.revision}{behind}")
    if cloud.certificate_end:
        parts.append(f"certificate until {cloud.certificate_end}")
    return ", ".join(parts)


def kubernetes_rows(kubernetes: KubernetesStatus) -> Iterator[tuple[str, str]]:
    """The API server, each kind that is not synced, and who writes."""
    kinds = kubernetes.kinds
    if not kubernetes.follows:
        state = "followed by another replica"
    else:
        state = "reached" if kubernetes.reached else "NOT REACHED"
        synced = [kind for kind in kinds if kind.synced]
        objects = sum(kind.objects for kind in synced)
        state += f", {len(synced)} of {len(kinds)} kinds synced, {objects} objects"
    yield "kubernetes", f"{kubernetes.server}, {state}"
    if kubernetes.unserved:
        yield "  not served", ", ".join(kubernetes.unserved)
    if kubernetes.holder:
        told = f", {kubernetes.statuses} statuses and {kubernetes.events} events written"
        yield "  lease", f"{kubernetes.holder}{f' (this one){told}' if kubernetes.holds else ''}"


def _counts(counts: Mapping[str, int]) -> str:
    """The most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
