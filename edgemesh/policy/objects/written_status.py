"""How objects stand, as it is written into their status at an API server: what has to change.

Gateway API routes get an entry for each parent that is a Service, beside those of other
controllers (RouteParentStatus); everything else gets conditions of its own, beside others' as
well. Times of transition change with ``status`` alone (metav1.Condition).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from edgemesh.model.conditions import Condition
from edgemesh.model.objects import ObjectKey

CONTROLLER_NAME: Final = "edgemesh.io/edgecontroller"

_ROUTES: Final = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"})
# Istio's conditions have no observedGeneration.
_ISTIO: Final = frozenset({"DestinationRule", "VirtualService"})
_OUR_TYPES: Final = frozenset({"Accepted", "ResolvedRefs", "Programmed", "PathHonoured"})
# Of metav1.Condition, and of status.parents in the Gateway API's CRDs.
_LONGEST_MESSAGE: Final = 32768
_MOST_PARENTS: Final = 32

Body = Mapping[str, Any]


class Observed(NamedTuple):
    """An object as the API server last told of it.

    Args:
        key: its name.
        api_version: as it is served.
        uid, revision, generation: of its metadata; "" and 0 where it has none.
        parents: ``spec.parentRefs``.
        status: as it stands there.
    """

    key: ObjectKey
    api_version: str
    uid: str
    revision: str
    generation: int
    parents: Sequence[Any]
    status: Body


def observe(key: ObjectKey, body: Body) -> Observed:
    """Take out of an object what matters here; what is of a wrong type counts as not there."""
    metadata, spec, status = body["metadata"], body.get("spec"), body.get("status")
    generation = metadata.get("generation")
    parents = spec.get("parentRefs") if isinstance(spec, Mapping) else None
    return Observed(
        key,
        body["apiVersion"],
        metadata.get("uid") or "",
        metadata.get("resourceVersion") or "",
        generation if isinstance(generation, int) else 0,
        parents if isinstance(parents, list) else (),
        status if isinstance(status, Mapping) else {},
    )


def status_patch(
    observed: Observed, conditions: Sequence[Condition], now: str
) -> dict[str, Any] | None:
    """The merge patch that makes an object's status say how it stands; None when it does.

    Args:
        observed: the object.
        conditions: how it stands.
        now: RFC 3339 in seconds.
    """
    if observed.key.kind in _ROUTES:
        field, wanted = "parents", _parents(observed, conditions, now)
    else:
        generation = 0 if observed.key.kind in _ISTIO else observed.generation
        present = _list(observed.status, "conditions")
        field, wanted = "conditions", _merged(present, conditions, generation, now)
    if wanted == _list(observed.status, field):
        return None
    return _patch(observed, {field: wanted})


def rule_patch(
    observed: Observed, successes: int, failures: int, errors: Sequence[str]
) -> dict[str, Any] | None:
    """The merge patch that makes a Rule say what became of its Messages; None when it does.

    The fields are KubeEdge's (``rules.kubeedge.io/v1``).

    Args:
        observed: the Rule.
        successes: Messages and calls that got where the Rule leads.
        failures: those that did not.
        errors: sentences about failures, the latest last.
    """
    wanted = {"successMessages": successes, "failMessages": failures, "errors": list(errors)}
    present = {
        "successMessages": observed.status.get("successMessages") or 0,
        "failMessages": observed.status.get("failMessages") or 0,
        "errors": observed.status.get("errors") or [],
    }
    return None if wanted == present else _patch(observed, wanted)


def _patch(observed: Observed, status: dict[str, Any]) -> dict[str, Any]:
    # The patch replaces whole lists: it must not meet what another controller wrote meanwhile.
    return {"metadata": {"resourceVersion": observed.revision}, "status": status}


def _parents(observed: Observed, conditions: Sequence[Condition], now: str) -> list[Any]:
    present = _list(observed.status, "parents")
    ours = [each for each in present if _is_ours(each)]
    others = [each for each in present if not _is_ours(each)]
    wanted = []
    for parent in observed.parents:
        if not (isinstance(parent, Mapping) and parent.get("kind") == "Service"):
            continue
        before: Body = next((each for each in ours if each.get("parentRef") == parent), {})
        said = _list(before, "conditions")
        merged = _merged(said, conditions, observed.generation, now)
        entry = {"parentRef": parent, "controllerName": CONTROLLER_NAME, "conditions": merged}
        wanted.append(entry)
    return [*others, *wanted][:_MOST_PARENTS]


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, Mapping) and entry.get("controllerName") == CONTROLLER_NAME


def _merged(
    present: Iterable[Any], conditions: Sequence[Condition], generation: int, now: str
) -> list[Any]:
    """Our conditions in their order, behind those of others."""
    known = {each.get("type"): each for each in present if isinstance(each, Mapping)}
    wanted = [each for name, each in known.items() if name not in _OUR_TYPES]
    for condition in conditions:
        body: dict[str, Any] = condition.body()
        body["message"] = body["message"][:_LONGEST_MESSAGE]
        before = known.get(condition.type, {})
        same = before.get("status") == body["status"] and before.get("lastTransitionTime")
        body["lastTransitionTime"] = before["lastTransitionTime"] if same else now
        if generation:
            body["observedGeneration"] = generation
        wanted.append(body)
    return wanted


def _list(holder: Body, field: str) -> list[Any]:
    value = holder.get(field)
    return value if isinstance(value, list) else []
