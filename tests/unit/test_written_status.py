"""What is written into an object's status is what has changed, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.conditions import Condition
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.objects.written_status import (
    CONTROLLER_NAME,
    Observed,
    observe,
    rule_patch,
    status_patch,
)

NOW, THEN = "2026-11-22T20:00:00Z", "2026-11-21T00:00:00Z"
ACCEPTED = Condition("Accepted", True, "Accepted")
REFUSED = Condition("Accepted", False, "TargetNotFound", "Service default/web not found")
PROGRAMMED = Condition("Programmed", True, "Programmed", "in force at default/web:80")


def an_object(kind: str, status: Any = None, **spec: Any) -> Observed:
    body = {
        "apiVersion": "example.com/v1",
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "5", "generation": 3},
        "spec": spec,
        "status": status,
    }
    return observe(ObjectKey(kind, "default", "a"), body)


def told(observed: Observed, *conditions: Condition, now: str = NOW) -> dict[str, Any]:
    patch = status_patch(observed, conditions, now)
    assert patch is not None
    assert patch["metadata"] == {"resourceVersion": "5"}
    status: dict[str, Any] = patch["status"]
    return status


def test_conditions_say_when_they_became_so_and_of_which_generation() -> None:
    assert told(an_object("TrafficPolicy"), ACCEPTED)["conditions"] == [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "",
            "lastTransitionTime": NOW,
            "observedGeneration": 3,
        }
    ]
    said = told(an_object("DestinationRule"), ACCEPTED)["conditions"]
    assert "observedGeneration" not in said[0]


def test_a_transition_is_a_change_of_status_alone() -> None:
    before = told(an_object("TrafficPolicy"), REFUSED, now=THEN)
    other = Condition("Accepted", False, "Conflicted", "x")
    still = told(an_object("TrafficPolicy", before), other)["conditions"][0]
    assert (still["reason"], still["lastTransitionTime"]) == ("Conflicted", THEN)
    turned = told(an_object("TrafficPolicy", before), ACCEPTED)["conditions"][0]
    assert turned["lastTransitionTime"] == NOW


def test_what_says_so_already_is_not_written_again() -> None:
    status = told(an_object("TrafficPolicy"), ACCEPTED, PROGRAMMED, now=THEN)
    assert status_patch(an_object("TrafficPolicy", status), [ACCEPTED, PROGRAMMED], NOW) is None


def test_conditions_of_others_stay_and_ours_that_hold_no_more_go() -> None:
    theirs = {"type": "Reconciled", "status": "True"}
    ours = {"type": "PathHonoured", "status": "True"}
    status = {"conditions": [theirs, ours, "odd"]}
    said = told(an_object("VirtualService", status), ACCEPTED)["conditions"]
    assert [each["type"] for each in said] == ["Reconciled", "Accepted"]


PARENT = {"kind": "Service", "group": "", "name": "web"}


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"])
def test_routes_get_an_entry_for_each_service_beside_those_of_others(kind: str) -> None:
    gateway = {"name": "edge"}
    theirs = {"parentRef": gateway, "controllerName": "example.com/other", "conditions": []}
    gone = {"parentRef": {"kind": "Service", "name": "old"}, "controllerName": CONTROLLER_NAME}
    status = {"parents": [gone, theirs, "odd"]}
    route = an_object(kind, status, parentRefs=[gateway, PARENT, "odd"])
    parents = told(route, ACCEPTED)["parents"]
    assert parents[:2] == [theirs, "odd"]
    assert len(parents) == 3
    assert (parents[2]["parentRef"], parents[2]["controllerName"]) == (PARENT, CONTROLLER_NAME)
    assert parents[2]["conditions"][0]["lastTransitionTime"] == NOW
    again = an_object(kind, {"parents": parents}, parentRefs=[PARENT])
    assert status_patch(again, [ACCEPTED], "later") is None


def test_a_route_of_a_gateway_alone_is_none_of_ours() -> None:
    route = an_object("HTTPRoute", parentRefs=[{"name": "edge"}])
    assert status_patch(route, [REFUSED], NOW) is None


def test_a_rule_says_what_became_of_its_messages_as_kubeedge_does() -> None:
    assert rule_patch(an_object("Rule"), 0, 0, ()) is None
    patch = rule_patch(an_object("Rule"), 2, 1, ("no answer",))
    assert patch is not None
    assert patch["status"] == {"successMessages": 2, "failMessages": 1, "errors": ["no answer"]}
    assert rule_patch(an_object("Rule", patch["status"]), 2, 1, ("no answer",)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each),
    max_leaves=8,
)
KINDS = st.sampled_from(["TrafficPolicy", "VirtualService", "HTTPRoute"])
CONDITIONS = st.lists(st.sampled_from([ACCEPTED, REFUSED, PROGRAMMED]), unique_by=lambda c: c.type)


@given(
    KINDS,
    st.dictionaries(st.sampled_from(["conditions", "parents", "x"]), JSON) | JSON,
    st.lists(st.just(PARENT) | JSON, max_size=3),
    CONDITIONS,
)
def test_what_was_written_is_never_written_again_whatever_was_there_before(
    kind: str, status: Any, parents: list[Any], conditions: list[Condition]
) -> None:
    unique = [each for index, each in enumerate(parents) if each not in parents[:index]]
    observed = an_object(kind, status, parentRefs=unique)
    patch = status_patch(observed, conditions, NOW)
    if patch is not None:
        after = {**observed.status, **patch["status"]}
        again = an_object(kind, after, parentRefs=unique)
        assert status_patch(again, conditions, "later") is None


@given(JSON, JSON, JSON)
def test_whatever_an_object_says_of_itself_can_be_observed(
    spec: Any, status: Any, generation: Any
) -> None:
    body = {"apiVersion": "v", "metadata": {"generation": generation}, "spec": spec}
    observed = observe(ObjectKey("Rule", "", "a"), {**body, "status": status})
    assert isinstance(observed.generation, int)
    assert isinstance(observed.parents, list | tuple)
