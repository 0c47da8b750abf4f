"""How a policy object stands: whether it counts, what was passed over, where it is in force.

Types and reasons are those of the Gateway API (PolicyConditionType, RouteConditionType) as far as
it has them. ``Accepted`` stays true where some fields are wrong, since the rest applies; its
reason then is ``PartiallyInvalid`` and its message names every such field and its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgemesh.model.conditions import Condition


class Hindrance(NamedTuple):
    """Why an object is in force nowhere: one word for programs, and words for people."""

    reason: str
    message: str


class Standing(NamedTuple):
    """What there is to say about an object.

    Args:
        ports: Service ports at which it is in force, ``default/web:80``.
        hindrance: why there is none, None when there is one.
        backends: what is wrong with the references of its routes; None for an object that has
            no routes.
        paths: ports that take another path than the one that it asks for, and why; None for an
            object that asks for none.
    """

    ports: Sequence[str]
    hindrance: Hindrance | None
    backends: Sequence[str] | None = None
    paths: Sequence[str] | None = None


def conditions_of(standing: Standing, problems: str) -> tuple[Condition, ...]:
    """The conditions of an object that was decoded.

    Args:
        standing: see there.
        problems: fields that were passed over, "" when there are none.
    """
    accepted = _accepted(standing.hindrance, problems)
    if standing.hindrance is None:
        programmed = Condition("Programmed", True, "Programmed", _where(standing.ports))
    else:
        programmed = Condition("Programmed", False, standing.hindrance.reason)
    conditions = [accepted]
    if standing.backends is not None:
        conditions.append(_resolved(standing.backends))
    conditions.append(programmed)
    if standing.paths is not None and standing.hindrance is None:
        conditions.append(_honoured(standing.paths))
    return tuple(conditions)


def refused(problem: str) -> tuple[Condition, ...]:
    """The conditions of an object that could not be decoded."""
    return (
        Condition("Accepted", False, "Invalid", problem),
        Condition("Programmed", False, "Invalid"),
    )


def _accepted(hindrance: Hindrance | None, problems: str) -> Condition:
    if hindrance is not None:
        message = "; ".join(filter(None, (hindrance.message, problems)))
        return Condition("Accepted", False, hindrance.reason, message)
    reason = "PartiallyInvalid" if problems else "Accepted"
    return Condition("Accepted", True, reason, problems)


def _resolved(problems: Sequence[str]) -> Condition:
    if problems:
        return Condition("ResolvedRefs", False, "BackendNotFound", "; ".join(problems))
    return Condition("ResolvedRefs", True, "ResolvedRefs")


def _honoured(other_paths: Sequence[str]) -> Condition:
    if other_paths:
        return Condition("PathHonoured", False, "OtherPath", "; ".join(other_paths))
    return Condition("PathHonoured", True, "PathHonoured")


def _where(ports: Sequence[str]) -> str:
    return f"in force at {', '.join(ports)}"
