"""What an agent or a cloud says about the API server that it follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FollowedKind:
    """How far one kind is followed.

    Args:
        kind: ``Service``.
        path: where the server has them.
        phase: see `edgemesh.model.reflection.Phase`.
        synced: whether all that the server had is here.
        seconds: since ``phase`` is what it is.
        revision: the server's, up to which it is followed.
        objects: that the server has.
        changes: that came.
        restarts: times that the server was asked anew because something failed.
        problem: the last that failed, "" when nothing does.
    """

    kind: str
    path: str
    phase: str
    synced: bool
    seconds: float
    revision: str = ""
    objects: int = 0
    changes: int = 0
    restarts: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KubernetesStatus:
    """The API server, and what comes from it.

    Args:
        server: as the settings name it.
        reached: whether it answers.
        problem: why it does not, "" when it does.
        kinds: that are followed.
        unserved: kinds that it does not serve; what was stored of them stays.
        follows: whether this process follows it; of several clouds with one store, one does.
        holder: of the Lease, as far as is known; "" where none is asked for.
        holds: whether this process is the holder, and writes status.
        lease_problem: why the Lease cannot be had, "" when it can.
        objects: that came, by what became of them.
        refused: objects that cannot be stored, and why; the latest.
        statuses, events: that were written to the server.
        write_problem: why the last could not be, "" when it could.
    """

    server: str
    reached: bool
    problem: str = ""
    kinds: tuple[FollowedKind, ...] = ()
    unserved: tuple[str, ...] = ()
    follows: bool = True
    holder: str = ""
    holds: bool = False
    lease_problem: str = ""
    objects: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    statuses: int = 0
    events: int = 0
    write_problem: str = ""

    @property
    def unsynced(self) -> tuple[FollowedKind, ...]:
        """Kinds of which not everything may be here."""
        return tuple(kind for kind in self.kinds if not kind.synced)

    def problems(self) -> Iterator[str]:
        """What an operator should look at, one sentence each."""
        if self.follows and not self.reached:
            yield f"API server {self.server}: {self.problem or 'not reached yet'}"
        elif self.follows:
            for kind in self.unsynced:
                yield f"{kind.kind}s of the API server are not synced: {_why(kind)}"
        if self.lease_problem:
            yield f"the Lease cannot be had: {self.lease_problem}"
        if self.write_problem:
            yield f"the API server is not told: {self.write_problem}"
        for name, problem in self.refused.items():
            yield f"{name} of the API server is not stored: {problem}"


def _why(kind: FollowedKind) -> str:
    return kind.problem or f"{kind.phase} for {kind.seconds:.0f} s"
