"""Who of several replicas may write: the Lease that one of them holds.

The rules are those of client-go's leaderelection. Nobody believes another's clock: a Lease has
run out when it has not been seen to change for as long as it lasts, by the clock of who looks.
Source: k8s.io/client-go/tools/leaderelection, KEP-589; the object is ``coordination.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Step(StrEnum):
    """What to do about a Lease."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


class LeaseView(NamedTuple):
    """What a Lease says.

    Args:
        holder: who has it, "" for nobody.
        seconds: that it lasts after a renewal.
        transitions: how often it has changed hands.
        revision: its resourceVersion: another with every renewal.
        acquired: when its holder got it, by the holder's clock; "" when it does not say.
    """

    holder: str
    seconds: float
    transitions: int
    revision: str
    acquired: str = ""


class Wanted(NamedTuple):
    """A Lease as it is to be.

    Args:
        namespace: of it.
        name: of it.
        me: who has it from now on.
        seconds: that it lasts; whole ones count.
    """

    namespace: str
    name: str
    me: str
    seconds: float


class Watched(NamedTuple):
    """A Lease, and since when it is as it is.

    Args:
        lease: None while there is none.
        since: when it was first seen like that, monotonic seconds.
    """

    lease: LeaseView | None
    since: float


def read_lease(body: Mapping[str, Any]) -> LeaseView:
    """What the body of a Lease says; what is not of the expected type counts as not said."""
    spec, metadata = body.get("spec"), body.get("metadata")
    said = spec if isinstance(spec, Mapping) else {}
    known = metadata if isinstance(metadata, Mapping) else {}
    seconds, transitions = said.get("leaseDurationSeconds"), said.get("leaseTransitions")
    return LeaseView(
        str(said.get("holderIdentity") or ""),
        float(seconds) if isinstance(seconds, int) else 0.0,
        transitions if isinstance(transitions, int) else 0,
        str(known.get("resourceVersion") or ""),
        str(said.get("acquireTime") or ""),
    )


def watched(before: Watched | None, lease: LeaseView | None, now: float) -> Watched:
    """A Lease as it was just read.

    Args:
        before: as it was known, None for not at all.
        lease: as it is, None for there is none.
        now: monotonic seconds.
    """
    if before is not None and before.lease == lease:
        return before
    return Watched(lease, now)


def next_step(known: Watched, me: str, now: float) -> Step:
    """What to do about a Lease that has just been read.

    Args:
        known: the Lease.
        me: who asks.
        now: monotonic seconds.
    """
    lease = known.lease
    if lease is None:
        return Step.CREATE
    if lease.holder == me:
        return Step.RENEW
    if not lease.holder or now >= known.since + lease.seconds:
        return Step.TAKE
    return Step.WAIT


def lease_body(wanted: Wanted, lease: LeaseView | None, now: str) -> dict[str, Any]:
    """A Lease that says that I have it.

    Args:
        wanted: what it is to say.
        lease: as it was read, None for a new one.
        now: RFC 3339 with microseconds, as a MicroTime is.
    """
    spec: dict[str, Any] = {
        "holderIdentity": wanted.me,
        "leaseDurationSeconds": max(1, round(wanted.seconds)),
        "renewTime": now,
        "leaseTransitions": 0 if lease is None else lease.transitions,
    }
    metadata = {"namespace": wanted.namespace, "name": wanted.name}
    if lease is None:
        spec["acquireTime"] = now
    else:
        metadata["resourceVersion"] = lease.revision
        if lease.holder == wanted.me:
            spec["acquireTime"] = lease.acquired or now
        else:
            spec |= {"acquireTime": now, "leaseTransitions": lease.transitions + 1}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }


def released(lease: LeaseView, now: str) -> dict[str, Any]:
    """The patch that gives a Lease up, so that another may take it at once.

    Args:
        lease: as it was last written by its holder.
        now: RFC 3339 with microseconds.
    """
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
    return {"metadata": {"resourceVersion": lease.revision}, "spec": spec}
